"""Ed25519 (RFC 8032) and OpenSSH's armored signatures, in plain Python: slow, and only for tests."""

import base64
import hashlib
import struct

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    """Points as (x, y, z, t) with x = X/Z, y = Y/Z, x*y = T/Z."""
    left, right = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = right - left, d - c, d + c, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def recover_x(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def encode(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data):
    """None unless the bytes are the one encoding of a point."""
    y, sign = int.from_bytes(data, "little") & (1 << 255) - 1, data[31] >> 7
    x = recover_x(y, sign) if y < P else None
    return None if x is None else (x, y, 1, x * y % P)


def scalar_of(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def expand(seed):
    digest = hashlib.sha512(seed).digest()
    return int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254, digest[32:]


def public_key(seed):
    return encode(times(expand(seed)[0], BASE))


def sign(seed, message):
    secret, prefix = expand(seed)
    nonce = scalar_of(prefix, message) % Q
    point = encode(times(nonce, BASE))
    response = (nonce + scalar_of(point, public_key(seed), message) * secret) % Q
    return point + response.to_bytes(32, "little")


def is_strong(public):
    """Whether the bytes are a key: one encoding, and not of small order."""
    point = decode(public)
    return point is not None and encode(times(8, point)) != encode((0, 1, 1, 0))


def verify(public, message, signature):
    key, commitment, response = decode(public), decode(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or response >= Q or not is_strong(public) or not is_strong(signature[:32]):
        return False
    challenge = scalar_of(signature[:32], public, message) % Q
    return encode(times(response, BASE)) == encode(add(commitment, times(challenge, key)))


# ---- OpenSSH's forms -----------------------------------------------------------------------------------------------


def field(data):
    return struct.pack(">I", len(data)) + data


def key_blob(public):
    return field(b"ssh-ed25519") + field(public)


def key_text(public):
    return "ssh-ed25519 " + base64.b64encode(key_blob(public)).decode()


def signed_data(namespace, message):
    return b"SSHSIG" + b"".join(map(field, (namespace.encode(), b"", b"sha512", hashlib.sha512(message).digest())))


def armor(public, namespace, signature):
    inner = field(b"ssh-ed25519") + field(signature)
    fields = (key_blob(public), namespace.encode(), b"", b"sha512", inner)
    text = base64.b64encode(b"SSHSIG" + struct.pack(">I", 1) + b"".join(map(field, fields))).decode()
    lines = [text[at:at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def ssh_sign(seed, namespace, message):
    return armor(public_key(seed), namespace, sign(seed, signed_data(namespace, message)))


def ssh_verify(public, namespace, message, armored):
    """Whether the text is this key's signature, in its one spelling."""
    try:
        signature = base64.b64decode(b"".join(armored.split(b"\n")[1:-2]), validate=True)[-64:]
    except ValueError:
        return False
    is_canonical = len(signature) == 64 and armor(public, namespace, signature) == armored
    return is_canonical and verify(public, signed_data(namespace, message), signature)
