from __future__ import annotations
def threshold(name: str): return None
def look(): return None
def start(): return None
def stop(): return None
