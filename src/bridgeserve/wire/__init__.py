"""What HTTP is: bytes in, events out. No I/O, no clock, no threads, no logging."""
