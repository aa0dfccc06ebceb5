"""What the loss costs: cases, contenders, measurements, and the page that shows them."""
