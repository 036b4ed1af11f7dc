"""Both implementations against the conformance suite."""

import pytest

from holdfast.testing.artifact_suite import ArtifactLab, ArtifactSuite


class TestLocalArtifacts(ArtifactSuite):
    @pytest.fixture
    def lab(self, local_lab: ArtifactLab) -> ArtifactLab:
        return local_lab


class TestS3Artifacts(ArtifactSuite):
    @pytest.fixture
    def lab(self, s3_lab: ArtifactLab) -> ArtifactLab:
        return s3_lab
