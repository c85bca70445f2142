"""The model: views of images, encoder and head, the training step, the optimizer."""
