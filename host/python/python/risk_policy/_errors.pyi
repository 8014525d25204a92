"""Errors of the package; types for checkers alone, `_native` has them."""

class PolicyError(Exception):
    """Whatever goes wrong between a policy file and what it decides; base of all others."""

class EngineError(PolicyError):
    """The WebAssembly engine can't run here, or a limit makes no sense."""

class PolicyFileError(PolicyError):
    """The file can't be read, is no policy, imports something, or is of an unknown contract."""

class SignatureError(PolicyError):
    """The file isn't the pinned one, isn't signed by that key, or was revoked; a key can't be used."""

class SettingsError(PolicyError):
    """The settings are no JSON object, or the policy refuses them."""

class UnmetNeed(PolicyError):
    """The policy asks for what this run or its setup doesn't have."""

class SignalError(PolicyError):
    """A signal, label or array that a policy can't be given: names the field and what to do."""

class PolicyRefused(PolicyError):
    """`calibrate` gave up with words of the policy's own."""

class CalibrationError(PolicyError):
    """A calibration file that can't be read, or that is of another policy, settings or model."""

class JournalError(PolicyError):
    """A journal that can't be written or read, or that doesn't hold what it should."""

class PolicyFault(PolicyError):
    """The policy crashed, went past a limit, or answered nonsense: the update must not happen."""
