"""crewai; run by test_clients.py with the server's URL."""

import os
import sys

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "OPENAI_API_KEY": "any"}

from crewai import LLM, Agent, Crew, Task  # noqa: E402  # it reads the environment when it is imported

llm = LLM(model="openai/nano", base_url=sys.argv[1] + "/v1", api_key="any", max_tokens=200)
assert llm.call([{"role": "user", "content": "Hello"}])
agent = Agent(role="Greeter", goal="Greet", backstory="You greet.", llm=llm, max_iter=1, verbose=False)
task = Task(description="Say hello.", expected_output="A greeting.", agent=agent)
assert Crew(agents=[agent], tasks=[task], verbose=False).kickoff().raw
