"""From scores to the list that is shown: candidates, rules and stages; pure functions of a request and a context."""
