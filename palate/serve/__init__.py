"""HTTP: the live recommender as a service."""

from importlib.util import find_spec

from palate.errors import MissingExtra

for package in ("fastapi", "httptools", "jinja2", "orjson", "prometheus_client", "uvicorn", "uvloop"):
    if find_spec(package) is None:
        raise MissingExtra(package, "serve")
