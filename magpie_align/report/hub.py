"""Pushing a folder to the hub, when asked to. The token is huggingface_hub's own affair: it is neither read nor written here."""

from pathlib import Path
from typing import Literal

from magpie_align.errors import StageError


def push(folder: Path, repo: str, *, private: bool, kind: Literal["dataset", "model"]) -> str:
    """Upload a folder of a data set or a model to `org/name`, made if it does not exist; returns its address.

    Raises StageError where that fails, and where the repository is public and a private one was asked for.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        url = api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        seen_by_all = private and not api.repo_info(repo, repo_type=kind).private
        if not seen_by_all:
            api.upload_folder(folder_path=folder, repo_id=repo, repo_type=kind, commit_message=f"Upload {kind}")
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise StageError(
            f"cannot push to '{repo}' ({reason[0].rstrip('.') if reason else type(error).__name__}); log in with `hf auth login`, "
            "check the name, and give the same command again"
        ) from None
    if seen_by_all:
        raise StageError(
            f"'{repo}' exists and is public, and this release is to be private; set private: false or name another"
        )
    return str(url)
