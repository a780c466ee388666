"""schemathesis over /openapi.json; run by test_clients.py with the server's URL."""

import subprocess
import sys

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method,missing_required_header"
)
command = [
    sys.executable, "-m", "schemathesis.cli", "run", f"{sys.argv[1]}/openapi.json",
    "--checks", CHECKS, "--max-examples", "30", "--phases", "examples,coverage,fuzzing",
    "--exclude-path", "/metrics", "--request-timeout", "60", "--seed", "1",
]  # fmt: skip
sys.exit(subprocess.run(command, check=False).returncode)
