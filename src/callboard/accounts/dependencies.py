"""What the routers of this domain are given, as `main.py` put it into the application."""

from typing import Annotated

from fastapi import Depends, Request

from callboard.accounts.service import ApiKeyService
from callboard.core.config import Settings


def api_key_service(request: Request) -> ApiKeyService:
    """Return the process's ApiKeyService."""
    service: ApiKeyService = request.app.state.api_keys
    return service


def app_settings(request: Request) -> Settings:
    """Return the process's settings."""
    settings: Settings = request.app.state.settings
    return settings


ApiKeys = Annotated[ApiKeyService, Depends(api_key_service)]
AppSettings = Annotated[Settings, Depends(app_settings)]
