"""Who asks: the parts of the locustfile. All of it runs in Locust's processes, on gevent."""
