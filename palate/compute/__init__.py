"""What the heavy work runs on: threads, memory, linear algebra that several models use."""
