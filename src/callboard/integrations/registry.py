"""The outside services that a process knows, by name. `wiring` fills it; `steps/external_api.py` asks it."""

import asyncio
from collections.abc import Iterable

from callboard.integrations.errors import UnknownServiceError
from callboard.integrations.guarded import GuardedService, ServiceGuard
from callboard.integrations.port import ExternalService, suggest_name


class ServiceRegistry:
    """Finds a service by its name, and closes them all. Two of one name are a mistake in the wiring.

    Each is given out behind `guard`; left out, behind one with the usual circuits and no rate limits.
    """

    def __init__(self, services: Iterable[ExternalService], *, guard: ServiceGuard | None = None) -> None:
        self._guard = guard or ServiceGuard()
        self._by_name: dict[str, GuardedService] = {}
        for service in services:
            if service.name in self._by_name:
                raise ValueError(f"two services are called {service.name!r}")
            self._by_name[service.name] = GuardedService(service, self._guard)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that `get` knows, sorted."""
        return tuple(sorted(self._by_name))

    def get(self, name: str) -> GuardedService:
        """Return the service called `name`. Raises: UnknownServiceError, with the nearest name."""
        service = self._by_name.get(name)
        if service is None:
            raise UnknownServiceError(f"There is no service {name!r}. {suggest_name(name, self._by_name)}")
        return service

    async def close(self) -> None:
        """Close every service, and what counts their calls."""
        await asyncio.gather(*(service.close() for service in self._by_name.values()))
        await self._guard.close()
