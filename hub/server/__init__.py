"""HTTP and WebSockets on one port: what knows uvicorn and RFC 6455."""
