"""Programs that make the numbers and pictures of docs/ and that test speed and reliability. `dfa_cli` imports none."""
