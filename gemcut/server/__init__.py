"""The HTTP server: OpenAI's and Anthropic's APIs, and what it takes to operate it."""
