"""The HTTP API beside the calls, on their port: what stock clients of OpenAI's API ask for by the same base URL."""
