"""Time and memory of the loss: cases, contenders, measurements, and the page of them."""
