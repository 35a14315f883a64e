"""What all implementations share."""

# In widths of the texture a pixel: far more than any mip level tells apart, far less than what overflows when squared.
LARGEST = 1e4
