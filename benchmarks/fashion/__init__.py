"""Fashion-MNIST: what the defaults without a GPU reach, beside raw pixels and beside lightly."""
