"""Model providers: the only place that knows HTTP clients and provider SDKs."""
