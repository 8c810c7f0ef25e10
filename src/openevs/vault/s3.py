"""Objects in a bucket of an S3-compatible store.

Only what every such store has is used: put, get, head, delete one object, list. An object is on stable storage when its
put was answered, so there is nothing to settle. One vault process per prefix: a bucket cannot be locked.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnection

from openevs.vault.errors import Broken, Damaged, NoSpace, Transient, VaultError
from openevs.vault.objects import LARGEST_BYTES

_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_REFUSED: Final = frozenset(
    {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName", "NoSuchBucket",
     "AuthorizationHeaderMalformed", "PermanentRedirect", "301", "400", "RequestTimeTooSkewed"}
)  # fmt: skip
_FULL: Final = frozenset({"QuotaExceeded", "InsufficientStorage", "507", "XMinioStorageFull", "EntityTooLarge"})
_SECONDS: Final = 60.0
_ATTEMPTS: Final = 4


class S3Store:
    """An `ObjectStore` on one bucket, below one prefix."""

    kind = "s3"

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        endpoint: str,
        region: str,
        access_key: str,
        secret_key: str,
        connections: int,
    ) -> None:
        """An empty `endpoint` is Amazon's; an empty `access_key` is looked for where S3 clients usually do."""
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint = endpoint
        self._given: dict[str, Any] = {"region_name": region or None, "endpoint_url": endpoint or None}
        if access_key:
            self._given |= {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}
        self._connections = connections
        self._made: Any = None

    @property
    def location(self) -> str:
        return f"{self._endpoint or 's3:/'}/{self._bucket}/{self._prefix}"

    def open(self) -> None:
        if self._made is not None:
            return
        if not self._bucket:
            raise Broken("backups are to be kept in S3, but the settings name no bucket: set backups.s3_bucket")
        with self._translated():
            try:
                made = self._client()
            except ValueError as error:
                raise Broken(f"backups cannot be kept in S3 as the settings say: {error}") from None
            made.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        self._made = made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    def head(self, name: str) -> int | None:
        with self._translated():
            try:
                answer = self._made.head_object(Bucket=self._bucket, Key=self._prefix + name)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return int(answer["ContentLength"])

    def put(self, name: str, data: bytes) -> None:
        with self._translated():
            self._made.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)

    def copy(self, name: str, to: str) -> None:
        with self._translated():
            source = {"Bucket": self._bucket, "Key": self._prefix + name}
            self._made.copy_object(Bucket=self._bucket, Key=self._prefix + to, CopySource=source)

    def get(self, name: str) -> bytes | None:
        with self._translated():
            try:
                answer = self._made.get_object(Bucket=self._bucket, Key=self._prefix + name)
                with closing(answer["Body"]) as body:
                    data: bytes = body.read() if answer["ContentLength"] <= LARGEST_BYTES else b""
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        if answer["ContentLength"] > LARGEST_BYTES:
            raise Damaged(f"{name} in {self.location} is larger than anything that a vault keeps")
        return data

    def delete(self, names: Sequence[str]) -> None:
        with self._translated():
            for name in names:
                self._made.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def list(self, prefix: str) -> Iterator[str]:
        with self._translated():
            pages = self._made.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    if not found["Key"].endswith("/"):
                        yield found["Key"].removeprefix(self._prefix)

    def settle(self) -> None:
        pass

    def _client(self) -> Any:
        config = Config(
            connect_timeout=_SECONDS / 6,
            read_timeout=_SECONDS,
            max_pool_connections=self._connections,
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
            # Newer checksums are not known to every store; what is read is checked by its hash in any case.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if self._endpoint else "auto"},
        )
        return botocore.session.Session().create_client("s3", config=config, **self._given)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._translate(error) from None
        except (NoConnection, HTTPClientError, IncompleteReadError) as error:
            raise Transient(f"backups in {self.location}: the store does not answer ({type(error).__name__})") from None
        except BotoCoreError as error:
            raise Broken(f"backups in {self.location}: {error}") from None

    def _translate(self, error: ClientError) -> VaultError:
        code, text = _code(error), error.response.get("Error", {}).get("Message", "")
        if code in _FULL:
            return NoSpace(f"there is no room left for backups in {self.location}")
        reason = f"backups in {self.location}: the store answered {code}: {text}"
        if code in _REFUSED:
            return Broken(f"{reason}; see backups.s3_bucket, s3_region and the access key in the settings")
        return Transient(reason)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
