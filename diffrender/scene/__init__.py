"""What is rendered: objects, materials, lights, cameras and views."""
