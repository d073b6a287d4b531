"""One epoch loop: a task says what a step is, an executor where it runs."""
