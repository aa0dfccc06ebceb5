"""The complementary sampler: crops drawn by the inverse of the running IoU."""
