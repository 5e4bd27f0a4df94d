"""Traffic for trying the service out: making commands up, sending them, reading the answers, what became of them."""
