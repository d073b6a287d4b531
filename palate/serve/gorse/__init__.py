"""The REST API of gorse under `/api`, so that its published clients work unmodified."""
