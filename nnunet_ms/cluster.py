"""Cases on a Dask cluster; a cluster that is lost, or kills its workers, costs no case: the work ends with one line."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from nnunet_ms.errors import SettingsError, one_line
from nnunet_ms.interrupts import interrupts_held_back
from nnunet_ms.memory import keep_freed_memory

if TYPE_CHECKING:
    from distributed import Client

Case = TypeVar("Case")
Result = TypeVar("Result")

WINDOW_PER_WORKER = 4  # cases in flight per worker of a cluster: enough to keep it busy, little enough for flat memory
CONNECT_TIMEOUT_S = 20


def map_on_cluster(
    function: Callable[[Case], Result],
    cases: Sequence[Case],
    address: str,
    failed: Callable[[BaseException], Result],
) -> Generator[tuple[int, Result], None, None]:
    """Yield the number of each case with its result, as they come; the arguments are those of `map_in_processes`.

    Parameters
    ----------
    address : str
        As `Dask.address`.

    Raises
    ------
    SettingsError
        As `connected`.
    """
    if not cases:
        return
    with connected(address) as client:
        from distributed import as_completed  # after `connected`, which says what to do when there is none

        waiting = iter(enumerate(cases))
        window = WINDOW_PER_WORKER * number_of_workers(client)
        job = partial(_with_memory, function)
        index_of = {client.submit(job, case, pure=False): i for i, case in islice(waiting, window)}
        completed = as_completed(list(index_of))
        for future in completed:
            yield index_of.pop(future), _result(future, failed)
            for index, case in islice(waiting, 1):
                following = client.submit(job, case, pure=False)
                index_of[following] = index
                completed.add(following)
            future.release()  # the cluster forgets the result: memory stays flat


def _with_memory(function: Callable[[Case], Result], case: Case) -> Result:
    keep_freed_memory()
    return function(case)


def _result(future: Any, failed: Callable[[BaseException], Result]) -> Result:
    try:
        result: Result = future.result()
    except Exception as error:  # noqa: BLE001 - `failed` tells whose fault it is
        return failed(error)
    return result


def cluster_fault(error: BaseException) -> str:
    """What to tell about an error if a cluster is at fault, or nothing if it is not.

    Examples
    --------
    >>> cluster_fault(ValueError("bad voxel"))
    ''
    """
    if "distributed" not in sys.modules:  # then it is not from there
        return ""
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    if isinstance(error, KilledWorker):
        return (
            "workers of the cluster were killed again and again, mostly for want of memory. Give them more, or start "
            "fewer on each machine."
        )
    if isinstance(error, CancelledError | CommClosedError):
        return "the cluster's scheduler is gone. Start it, and repeat the command."
    return ""


def number_of_workers(client: "Client") -> int:
    """How many workers a cluster has, at least 1: they may still be starting."""
    return max(1, len(client.scheduler_info(n_workers=-1)["workers"]))


@contextmanager
def connected(address: str) -> "Iterator[Client]":
    """Yield a client of the cluster; one that was started for this call ends with it.

    Raises
    ------
    SettingsError
        If Dask is not installed, the scheduler does not answer, or the cluster has other versions than this process.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as missing:
        raise SettingsError("--dask: Dask is not installed. Run: pip install 'nnunet-ms[cluster]'") from missing

    if address.startswith("local:"):
        number = int(address.partition(":")[2])
        # any free port for the scheduler's pages: the usual one may be taken by another cluster
        # and no log of workers that take a while to leave: what matters comes back as a result or an error
        with _environment_kept():
            with interrupts_held_back():  # as for `Pool`: this process ends them
                cluster = LocalCluster(
                    n_workers=number, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
                )
            with cluster, Client(cluster) as client:
                yield client
        return
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*Mismatched versions")  # `_check_versions` says it
            client = Client(address, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError, ImportError) as error:
        raise SettingsError(
            f"--dask {address}: expected a scheduler that answers, found none ({one_line(error)}). "
            "Start it with `dask scheduler`, or check the address."
        ) from error
    with _quiet_client(), client:
        _check_versions(client, address)
        yield client


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Take back what Dask sets for its workers in this process too: one thread, and how memory is given back."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Let the client log nothing: what happens to it comes back as an error of a case, and is told once."""
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _check_versions(client: "Client", address: str) -> None:
    """Raise SettingsError if a worker has other versions: it would fail on what it is sent, or give other numbers."""
    found: Any = client.get_versions()  # typed as if it might be awaited
    ours = client.run(_our_version)
    here = _versions(found["client"]) | {"nnunet-ms": _our_version()}
    others = {"the scheduler": _versions(found["scheduler"])}
    for name, worker in found["workers"].items():
        others[f"worker {name}"] = _versions(worker) | {"nnunet-ms": ours[name]}
    for name, versions in others.items():
        for program, number in versions.items():
            if number != here[program]:
                raise SettingsError(
                    f"--dask {address}: expected {program} {here[program]} as here, found {number} on {name}. Install "
                    "the same versions everywhere."
                )


def _versions(machine: dict[str, Any]) -> dict[str, str]:
    python = ".".join(str(machine["host"]["python"]).split(".")[:2])
    return {"Python": python, "distributed": str(machine["packages"]["distributed"])}


def _our_version() -> str:
    try:
        return version("nnunet-ms")
    except PackageNotFoundError:
        return "none"
