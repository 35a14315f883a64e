"""What is rendered: scenes of objects, materials and lights; cameras; views with target images."""
