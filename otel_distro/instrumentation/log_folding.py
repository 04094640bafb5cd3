from __future__ import annotations
active = None
def start(): return None
def stop(): return None
