"""What operators see and do: the verdict, pausing, the last hour, the workers, today's orders."""
