"""What a Jetson says of itself while it works: load, memory, temperatures, throttling, power, clocks."""
