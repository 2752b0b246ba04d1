"""What a job is and how it lives.

rules   states  errors  classification  failures  retry  payloads  masking  sealing  limits  questions  tools  pure: no I/O
facts   models  events  dependencies  workers  queries  statistics  failure_groups  schemas
life    lifecycle (the ONLY writer of job and attempt state)  admission (which jobs may start now)
loops   run_context  bundle  execution (run attempts)  dispatcher (one round)  courier (tells receivers)  rescue  doorbell
doors   tasks (Celery)  django_tasks  api  mcp  admin  health  urls  apps  management
builtin tools that ship: codemap, workflow replay

Imports point from doors to rules, never back: doors -> loops -> admission -> lifecycle -> facts -> events -> models -> rules.
"""
