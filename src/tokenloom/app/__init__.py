"""The command line and the web page: thin, no logic of their own."""
