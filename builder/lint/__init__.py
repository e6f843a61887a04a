"""What TensorRT will say of a network, said before anybody walks to the device."""
