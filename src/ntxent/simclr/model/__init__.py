"""What is trained: random views of the images, an encoder and head, the step and the optimizer."""
