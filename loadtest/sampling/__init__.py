"""What servers and machines say of themselves while a load test runs."""
