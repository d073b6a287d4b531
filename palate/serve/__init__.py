"""HTTP: the live recommender as a service. Needs the extra `serve`."""
