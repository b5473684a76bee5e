"""A study on a cluster with everything that can fail, and what must hold of it whatever failed."""

import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from chaos import study
from chaos.cluster import Disk, Driver, Nodes, raylet
from chaos.servers import Server, mlflow_server, wait_until
from mlflow import MlflowClient
from objects import ObjectStore

from dlx.home import Home
from dlx.store import Store

TOLERANCE = 1e-10  # of float64, where a pack was made up otherwise
SLOW = 5.0  # seconds that a trial takes while a cluster is being mended


class Row(NamedTuple):
    """What is stored of a trial; ``pack``: the keys that trained together."""

    status: str
    metrics: dict[str, float]
    pack: frozenset[str]


class Site:
    """Nodes, MLflow, a disk or an object store for homes; ``postgres``: of MLflow's tables, None: SQLite."""

    def __init__(
        self, folder: Path, nodes: int = 4, postgres: tuple[str, Server] | None = None, store: ObjectStore | None = None
    ) -> None:
        self.folder, self.store = folder, store
        address, self.postgres = postgres or (None, None)
        with ExitStack() as opened:
            self.disk = Disk(folder / "home")
            opened.callback(self.disk.close)
            if self.postgres is not None:
                opened.callback(self.postgres.kill)
                self.postgres.start()
            self.tracking_uri, self.mlflow = mlflow_server(folder / "mlflow", address)
            opened.callback(self.mlflow.kill)
            self.mlflow.launch()
            self.nodes = Nodes(nodes)
            opened.callback(lambda: self.nodes.close())
            self.mlflow.ready()
            self.close = opened.pop_all().close

    def begun(self, node: object = None) -> int:
        """How many trials have begun, at any time, on a node or on all."""
        return len(list((self.folder / "marks").glob(f"{raylet(node) if node else '*'}-*")))


class Run:
    """One study on a site, in a home of its own (``home``: a folder, None: in the object store or on the disk).

    nap: seconds that each trial takes at least.
    """

    def __init__(
        self, site: Site, name: str, nap: float, *, cells: int = 20, home: str | None = None, tracked: bool = True
    ) -> None:
        self.site, self.name, self.tracked = site, name, tracked
        kept = site.store.address(folder=name) if site.store is not None else str(site.disk.folder / name)
        self.home = home or kept
        self._pace = site.folder / f"{name}.pace"
        self.pace(nap)
        every = 1.0 if "://" in self.home else 0.25  # seconds between snapshots: a few requests to an object store
        text, file = Path(study.__file__).read_text(), site.folder / f"{name}.py"
        first = next(line for line in text.splitlines() if line.startswith("NAME"))
        file.write_text(text.replace(first, f"NAME, CELLS, EVERY, PACE = {(name, cells, every, str(self._pace))}"))
        self.trials = cells * (16 * 2 + 2 * 2 + 2 * 20)  # asks, two settings of each search once more, finals
        self.command = [str(Path(sys.executable).with_name("dlx")), "run", str(file), "--home", self.home,
                        "--tracking-uri", site.tracking_uri if tracked else "off"]
        self.driver = Driver([*self.command, "--address", site.nodes.address], site.folder / f"{name}.log")
        self.store = Store(name, self.home)

    def pace(self, nap: float) -> None:
        """Let trials take so many seconds at least, from their next step."""
        self._nap = nap
        self._set(nap)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """Trials take longer meanwhile, so that the study does not end while its cluster is mended."""
        self._set(SLOW)
        try:
            yield
        finally:
            self._set(self._nap)

    def _set(self, nap: float) -> None:
        beside = self._pace.with_suffix(".new")
        beside.write_text(str(nap * study.PACK / study.STEPS))
        os.replace(beside, self._pace)

    def alone(self) -> None:
        """Begin to run it in one process, with nothing that can fail, and end it."""
        self.begin_alone()
        self.end()

    def begin_alone(self) -> None:
        """Begin to run it in one process, with nothing that can fail."""
        self.driver = Driver([*self.command, "--executor", "local"], self.driver.log)
        self.driver.start()

    @property
    def stored(self) -> int:
        """How many trials are."""
        return len(self.store.statuses())

    def advance(self, trials: int) -> None:
        """Until so many more are stored; fails when the driver ends by itself."""
        goal = self.stored + trials
        wait_until(lambda: self.stored >= goal or self.driver.code is not None, 300, f"{goal} stored trials")
        assert self.driver.code is None, f"ended with {self.driver.code}:\n{self.driver.said[-5000:]}"

    def end(self) -> None:
        """Until the study has ended, and again for as long as it says that MLflow lacks something."""
        self.pace(0.0)
        assert self.driver.end(seconds=600) == 0, self.driver.said[-5000:]
        for _ in range(4):
            if " lacks " in self.driver.said:
                self.driver.start()
                assert self.driver.end(seconds=300) == 0, self.driver.said[-5000:]

    def rows(self) -> dict[str, Row]:
        """What is stored, by key; packs are those that began in one millisecond and took equally long."""
        table = self.store.trials(columns=["key", "status", "metrics", "started", "seconds"]).to_pylist()
        packs = defaultdict(set)
        for row in table:
            packs[row["started"], row["seconds"]].add(row["key"])
        return {row["key"]: Row(row["status"], dict(row["metrics"]), frozenset(packs[row["started"], row["seconds"]]))
                for row in table}

    def check(self, undisturbed: Mapping[str, Row]) -> int:
        """All that must hold, also of fewer cells; returns how many trials are equal bit for bit, as their pack is."""
        found = self.rows()
        assert found.keys() <= undisturbed.keys() and len(found) == self.trials
        self._once()
        same = [key for key, row in found.items() if row.pack == undisturbed[key].pack]
        for key, row in found.items():
            status, metrics, pack = undisturbed[key]
            assert row.status == status == "completed" and row.metrics.keys() == metrics.keys()
            exact = row.pack == pack
            for name, value in row.metrics.items():
                assert value == metrics[name] if exact else math.isclose(
                    value, metrics[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE), (key, name, value, metrics[name])
        if self.tracked:
            self._agrees(found)
        return len(same)

    def _once(self) -> None:
        """Every key lies in one part, and in one row of it; what was half-way is gone."""
        home, rows = Home(self.home), Counter()
        folder = home.path("studies", self.name, "trials")
        for name in home.names(folder):
            with home.fs.open_input_file(f"{folder}/{name}") as file:
                rows.update(pq.read_table(file, columns=["key"]).column("key").to_pylist())
        assert set(rows.values()) == {1} and not self.store.damaged

    def _agrees(self, found: Mapping[str, Row]) -> None:
        """MLflow holds one whole run of each key, with the same numbers, one run a cell, one summary."""
        client = MlflowClient(self.site.tracking_uri)
        experiment = client.get_experiment_by_name(self.name)
        kinds = defaultdict(list)
        token = None
        while token is None or token:
            page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
            for run in page:
                kinds[run.data.tags["dlx.kind"]].append(run)
            token = page.token or ""
        trials = {run.data.tags["dlx.key"]: run for run in kinds["trial"]}
        assert trials.keys() == found.keys() and len(kinds["trial"]) == len(found)
        for key, row in found.items():
            assert trials[key].info.status == "FINISHED" and trials[key].data.tags["dlx.status"] == row.status
            assert {name: trials[key].data.metrics[name] for name in row.metrics} == row.metrics
        assert len(kinds["cell"]) == len(set(self.store.membership().column("cell").to_pylist()))
        assert len(kinds["summary"]) == 1
