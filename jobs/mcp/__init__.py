"""The door for AI agents: the Model Context Protocol at /mcp.

door      who calls, and from where; one throw-away session manager of the SDK a request
server    what is offered and how a call is answered
catalogue tools as agents see them
verbs     the tools of the queue itself: submit_job, get_job, wait_job, ...
task      a job as a task of the extension io.modelcontextprotocol/tasks
snapshot  a job as every answer shows it
"""
