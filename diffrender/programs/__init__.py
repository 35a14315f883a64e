"""What programs are written with: relaxed choices, custom gradients, and bridges to other libraries (README.md)."""
