"""A local server that speaks the Hub's HTTP protocol, so that tests run the real clients without a network.

    with HubServer() as hub:
        environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.add_token("someone"), "HF_HUB_DISABLE_XET": "1"}
        hub.fail("PUT /storage/", status=503)

Repositories live in memory; every commit keeps its complete map of paths to blobs. The storage of large files answers
under another host name than the Hub, as the real one does.
"""

import base64
import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import yaml


# The most usual lines of the .gitattributes of a new repository.
LFS_SUFFIXES = [".arrow", ".bin", ".ckpt", ".gz", ".h5", ".npz", ".onnx", ".parquet", ".pkl", ".pt", ".safetensors"]
LARGEST_REGULAR = 10 * 2**20  # bytes
DATE = "2026-01-01T00:00:00.000Z"
GROUPS = {
    "kind": "(?P<kind>model|dataset|space)",
    "kinds": "(?:(?P<kind>dataset|space)s/)?",
    "repo": "(?P<name>[^/]+/[^/]+?)",
    "revision": "(?P<revision>[^/]+)",
    "path": "(?P<path>.+)",
    "sha256": "(?P<key>[0-9a-f]{64})",
}
ROUTES = {
    "GET /api/whoami-v2": "whoami",
    "POST /api/validate-yaml": "validate_yaml",
    "POST /api/repos/create": "create",
    "GET /api/{kind}s/{repo}": "info",
    "GET /api/{kind}s/{repo}/revision/{revision}": "info",
    "GET /api/{kind}s/{repo}/refs": "list_refs",
    "GET /api/{kind}s/{repo}/tree/{revision}": "tree",
    "GET /api/{kind}s/{repo}/tree/{revision}/{path}": "tree",
    "POST /api/{kind}s/{repo}/paths-info/{revision}": "paths_info",
    "POST /api/{kind}s/{repo}/branch/{revision}": "create_branch",
    "POST /api/{kind}s/{repo}/preupload/{revision}": "preupload",
    "POST /api/{kind}s/{repo}/commit/{revision}": "commit",
    "POST /{kinds}{repo}.git/info/lfs/objects/batch": "lfs_batch",
    "POST /{kinds}{repo}.git/info/lfs/verify": "lfs_verify",
    "GET /{kinds}{repo}/resolve/{revision}/{path}": "resolve",
    "PUT /storage/{sha256}": "store",
    "GET /storage/{sha256}": "stored",
}
TABLE = {re.compile(re.sub(r"{(\w+)}", lambda found: GROUPS[found[1]], route)): ROUTES[route] for route in ROUTES}


class User(NamedTuple):
    name: str
    role: str  # "write"; or "read" or "fineGrained", which may read


class Logged(NamedTuple):
    method: str
    path: str
    status: int  # 0 where the connection was dropped


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


class RefusalError(Exception):
    def __init__(self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None):
        super().__init__(message)
        headers = {"X-Error-Message": message, "X-Error-Code": code, **(headers or {})}
        self.answer = Answer(status, json.dumps({"error": message}).encode(), headers)


class Request(NamedTuple):
    query: dict[str, list[str]]
    headers: Any
    body: bytes
    user: User | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Fault:
    """What befalls each request whose "METHOD path" holds the regular expression `pattern`."""

    pattern: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False  # in the middle of the request's body


@dataclass(frozen=True)
class Blob:
    data: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        data = pointer.encode() if self.lfs else self.data
        return sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class Commit:
    files: dict[str, Blob]
    parent: str | None = None
    title: str = "initial commit"

    @property
    def oid(self) -> str:
        tree = {path: blob.oid for path, blob in sorted(self.files.items())}
        return sha1(json.dumps([tree, self.parent, self.title]).encode()).hexdigest()

    def entries(self) -> list[dict[str, Any]]:
        """Files and folders, by path."""
        folders = {str(parent) for path in self.files for parent in PurePosixPath(path).parents} - {"."}
        found = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders]
        for path, blob in self.files.items():
            large = {"lfs": {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 134}} if blob.lfs else {}
            found.append({"type": "file", "path": path, "oid": blob.oid, "size": len(blob.data), **large})
        return sorted(found, key=lambda entry: entry["path"])


@dataclass
class Repo:
    kind: str  # "model", "dataset" or "space"
    name: str
    private: bool
    refs: dict[str, str] = field(default_factory=dict)  # a branch or refs/pr/N: the oid of its last commit
    commits: dict[str, Commit] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.name.split("/")[0]

    @property
    def path(self) -> str:
        return self.name if self.kind == "model" else f"{self.kind}s/{self.name}"

    def add(self, ref: str, commit: Commit) -> Commit:
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit

    def at(self, revision: str) -> Commit:
        oid = self.refs.get(revision, revision)
        if oid not in self.commits:
            raise RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def history(self, revision: str = "main") -> list[Commit]:
        """The last commit first."""
        commit = self.at(revision)
        return [commit, *(self.history(commit.parent) if commit.parent else [])]

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return {path: blob.data for path, blob in self.at(revision).files.items()}


class HubServer:
    """The Hub at `url` while it is entered as a context."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}  # by token
        self.repos: dict[tuple[str, str], Repo] = {}  # by kind and name
        self.objects: dict[str, bytes] = {}  # large files by sha256
        self.faults: list[Fault] = []
        self.log: list[Logged] = []
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads, self._server.block_on_close = True, False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.storage_url = f"http://localhost:{self._server.server_port}/storage"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_token(self, name: str, role: str = "write") -> str:
        token = "hf_" + secrets.token_hex(17)
        self.users[token] = User(name, role)
        return token

    def fail(self, pattern: str, **fault: Any) -> None:
        self.faults.append(Fault(pattern, **fault))

    def fault_for(self, line: str) -> Fault:
        return next((fault for fault in self.faults if re.search(fault.pattern, line)), Fault(""))

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> Answer:
        url = urlsplit(target)
        line = f"{'GET' if method == 'HEAD' else method} {url.path}"
        found = next(((name, match) for pattern, name in TABLE.items() if (match := pattern.fullmatch(line))), None)
        try:
            if found is None:
                raise RefusalError(404, f"No such page: {line}")
            groups = {key: unquote(value) for key, value in found[1].groupdict().items() if value is not None}
            request = Request(parse_qs(url.query), headers, body, self._user(headers.get("Authorization")))
            with self._lock:
                result = getattr(self, f"_{found[0]}")(request, **groups)
        except RefusalError as refusal:
            return refusal.answer
        return result if isinstance(result, Answer) else Answer(body=json.dumps(result).encode())

    def _user(self, authorization: str | None) -> User | None:
        if authorization is None:
            return None
        if (token := authorization.removeprefix("Bearer ")) not in self.users:
            raise RefusalError(401, "Invalid credentials in Authorization header")
        return self.users[token]

    def _find(self, request: Request, kind: str, name: str) -> Repo:
        repo = self.repos.get((kind, name))
        if repo is None or (repo.private and (request.user is None or request.user.name != repo.owner)):
            status = 401 if request.user is None else 404
            raise RefusalError(status, "Repository not found", "RepoNotFound")
        return repo

    def _check_right(self, request: Request, namespace: str | None = None) -> None:
        """To write in a namespace; or in any, to open a pull request."""
        if request.user is None:
            raise RefusalError(401, "Invalid username or password.")
        if request.user.role != "write" or namespace not in (None, request.user.name):
            raise RefusalError(403, f"Forbidden: the token does not have the right to write to {namespace!r}")

    def _find_to_write(self, request: Request, kind: str, name: str) -> Repo:
        repo = self._find(request, kind, name)
        self._check_right(request, None if "create_pr" in request.query else repo.owner)
        return repo

    def _whoami(self, request: Request) -> Any:
        if request.user is None:
            raise RefusalError(401, "Invalid username or password.")
        name, role = request.user
        token = {"type": "access_token", "accessToken": {"displayName": "a token", "role": role}}
        return {"type": "user", "id": name, "name": name, "fullname": name, "orgs": [], "auth": token}

    def _validate_yaml(self, request: Request) -> Any:
        try:
            data = _card_data(request.json["content"])
        except yaml.YAMLError as error:
            return Answer(400, json.dumps({"errors": [{"message": str(error)}], "warnings": []}).encode())
        return {"errors": [], "warnings": [] if data else [{"message": "empty or missing yaml metadata in repo card"}]}

    def _create(self, request: Request) -> Any:
        wanted = request.json
        namespace = wanted.get("organization") or (request.user.name if request.user else "")
        self._check_right(request, namespace)
        kind, name = wanted.get("type") or "model", f"{namespace}/{wanted['name']}"
        # Clients before 2.0 send `private`.
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        repo = Repo(kind, name, private)
        answer = {"url": f"{self.url}/{repo.path}", "name": name}
        if (kind, name) in self.repos:
            return Answer(409, json.dumps({"error": f"You already created this {kind} repo", **answer}).encode())
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
        repo.add("main", Commit({".gitattributes": Blob(attributes.encode())}))
        self.repos[kind, name] = repo
        return answer

    def _info(self, request: Request, kind: str, name: str, revision: str = "main") -> Any:
        repo = self._find(request, kind, name)
        commit = repo.at(revision)
        card = _card_data(commit.files.get("README.md", Blob(b"")).data.decode())
        about = {"id": name, "sha": commit.oid, "private": repo.private, "gated": False, "lastModified": DATE}
        tagged: dict[str, Any] = {key: card[key] for key in ("pipeline_tag", "library_name", "tags") if key in card}
        return {
            **about,
            **tagged,
            "cardData": card,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }

    def _list_refs(self, request: Request, kind: str, name: str) -> Any:
        lists: dict[str, list] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
        for ref, oid in self._find(request, kind, name).refs.items():
            path, list_of = (ref, "pullRequests") if ref.startswith("refs/pr/") else (f"refs/heads/{ref}", "branches")
            lists[list_of].append({"name": ref, "ref": path, "targetCommit": oid})
        return lists

    def _tree(self, request: Request, kind: str, name: str, revision: str, path: str = "") -> Any:
        folder = f"{path}/" if path else ""
        entries = self._find(request, kind, name).at(revision).entries()
        entries = [entry for entry in entries if entry["path"].startswith(folder)]
        if folder and not entries:
            raise RefusalError(404, f"{path} does not exist on {revision!r}", "EntryNotFound")
        is_recursive = request.query.get("recursive", [""])[0].lower() == "true"
        return [entry for entry in entries if is_recursive or "/" not in entry["path"][len(folder) :]]

    def _paths_info(self, request: Request, kind: str, name: str, revision: str) -> Any:
        wanted = parse_qs(request.body.decode()).get("paths", [])
        entries = self._find(request, kind, name).at(revision).entries()
        return [entry for entry in entries if entry["path"] in wanted]

    def _create_branch(self, request: Request, kind: str, name: str, revision: str) -> Any:
        repo = self._find_to_write(request, kind, name)
        if revision in repo.refs:
            raise RefusalError(409, f"Reference already exists: refs/heads/{revision}")
        repo.add(revision, repo.at(request.json.get("startingPoint", "main")))
        return {}

    def _preupload(self, request: Request, kind: str, name: str, revision: str) -> Any:
        present = self._find_to_write(request, kind, name).at(revision).files
        answers = []
        for file in request.json["files"]:
            path = file["path"]
            is_binary = PurePosixPath(path).suffix in LFS_SUFFIXES or b"\0" in base64.b64decode(file["sample"])
            mode = "lfs" if is_binary or file["size"] > LARGEST_REGULAR else "regular"
            blob = present.get(path)
            oid = None if blob is None else blob.sha256 if blob.lfs else blob.oid
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answers}

    def _lfs_batch(self, request: Request, name: str, kind: str = "model") -> Any:
        repo = self._find(request, kind, name)
        # Without a branch, the files are for a pull request.
        self._check_right(request, repo.owner if "ref" in request.json else None)
        verify = {"href": f"{self.url}/{repo.path}.git/info/lfs/verify"}
        objects = request.json["objects"]
        for item in objects:
            if item["oid"] not in self.objects:
                item["actions"] = {"upload": {"href": f"{self.storage_url}/{item['oid']}"}, "verify": verify}
        return {"transfer": "basic", "objects": objects}

    def _lfs_verify(self, request: Request, name: str, kind: str = "model") -> Any:
        self._find(request, kind, name)
        if len(self.objects.get(request.json["oid"], b"")) != request.json["size"]:
            raise RefusalError(404, "The object was not received whole")
        return {}

    def _commit(self, request: Request, kind: str, name: str, revision: str) -> Any:
        repo = self._find_to_write(request, kind, name)
        parent = repo.at(revision)
        header, *operations = [json.loads(line) for line in request.body.splitlines()]
        if header["value"].get("parentCommit", parent.oid) != parent.oid:
            raise RefusalError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for operation in operations:
            key, value, path = operation["key"], operation["value"], operation["value"]["path"]
            if key == "file":
                files[path] = Blob(base64.b64decode(value["content"]))
            elif key == "lfsFile" and value["oid"] in self.objects:
                files[path] = Blob(self.objects[value["oid"]], lfs=True)
            elif key == "deletedFile" and path in files:
                del files[path]
            elif key == "deletedFolder":
                files = {kept: blob for kept, blob in files.items() if not kept.startswith(path.rstrip("/") + "/")}
            else:
                raise RefusalError(400, f"Cannot do {key!r} to {path!r}: no such file")
        url, opened = f"{self.url}/{repo.path}", {}
        if "create_pr" in request.query:
            number = 1 + sum(ref.startswith("refs/pr/") for ref in repo.refs)
            revision, opened = f"refs/pr/{number}", {"pullRequestUrl": f"{url}/discussions/{number}"}
        commit = repo.add(revision, Commit(files, parent.oid, header["value"]["summary"]))
        return {"success": True, "commitOid": commit.oid, "commitUrl": f"{url}/commit/{commit.oid}", **opened}

    def _resolve(self, request: Request, name: str, revision: str, path: str, kind: str = "model") -> Any:
        commit = self._find(request, kind, name).at(revision)
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            raise RefusalError(404, "Entry not found", "EntryNotFound", headers)
        blob = commit.files[path]
        if not blob.lfs:
            return _content(request, blob.data, {**headers, "ETag": f'"{blob.oid}"'})
        headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        return Answer(302, headers={**headers, "Location": f"{self.storage_url}/{blob.sha256}"})

    def _store(self, request: Request, key: str) -> Any:
        if sha256(request.body).hexdigest() != key:
            raise RefusalError(400, f"What was received is not {key}")
        self.objects[key] = request.body
        return Answer()

    def _stored(self, request: Request, key: str) -> Any:
        return _content(request, self.objects[key], {"ETag": f'"{key}"'})


def _content(request: Request, data: bytes, headers: dict[str, str]) -> Answer:
    """All of it, or the bytes that are asked for."""
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    if wanted is None:
        return Answer(200, data, headers)
    part = data[int(wanted[1]) : int(wanted[2]) + 1 if wanted[2] else None]
    if not part:
        return Answer(416, headers={"Content-Range": f"bytes */{len(data)}"})
    last = int(wanted[1]) + len(part) - 1
    return Answer(206, part, {**headers, "Content-Range": f"bytes {wanted[1]}-{last}/{len(data)}"})


def _card_data(card: str) -> dict[str, Any]:
    found = re.match(r"---[ \t]*\n(.*?)\n---", card, re.DOTALL)
    data = yaml.safe_load(found[1]) if found else None
    if not isinstance(data, dict | None):
        raise yaml.YAMLError("the metadata must be a mapping")
    return data or {}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def respond(self) -> None:
        fault = self.hub.fault_for(f"{self.command} {self.path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length // 2 if fault.drop else length)
        if fault.drop:
            self.hub.log.append(Logged(self.command, self.path, 0))
            self.close_connection = True
            return
        if fault.status is None:
            answer = self.hub.answer(self.command, self.path, self.headers, body)
        else:
            # As a gateway before the Hub answers.
            page = b"<html>A fault of the test</html>"
            answer = Answer(fault.status, page, {"Content-Type": "text/html", **fault.headers})
        self.hub.log.append(Logged(self.command, self.path, answer.status))
        self.send_response(answer.status)
        defaults = {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}
        for name, value in (defaults | dict(answer.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, *arguments: object) -> None:
        pass

    do_GET = do_HEAD = do_POST = do_PUT = respond  # noqa: N815
