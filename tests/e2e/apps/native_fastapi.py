"""A FastAPI application, which makes telemetry of its own from FastAPI 0.163 on."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{number}")
async def item(number: str):
    return number


@app.get("/fail")
async def fail():
    raise RuntimeError("of an endpoint")
