"""Persons put, imported with bad lines, looked for, given faces."""

import json
import secrets

import aiohttp

from tests.support.operators import Operators
from tests.support.privacy.run import API, Run, face, idcard_no, phone
from tests.support.privacy.search import piece


async def drive_persons(run: Run, operators: Operators, http: aiohttp.ClientSession) -> None:
    """Every way in which identity data and faces come in."""

    def person() -> dict[str, str]:
        return {
            "name": run.keep("name", f"隐私{secrets.token_hex(6)}"),
            "idcardNo": run.hide("identity number", idcard_no()),
            "phone": run.hide("phone", phone()),
        }

    first = person()
    await operators.put_person("P-put", **first)
    for member, value in first.items():
        run.gone(member, value)
    uploaded = face()
    run.hide("face as uploaded", piece(uploaded))
    await operators.put_face("P-put", uploaded)
    async with http.get(f"{API}/persons/P-put/face") as got:
        stored = piece(await got.read())
    run.hide("face as stored", stored)
    run.gone("face", stored)
    broken = face()
    run.hide("broken face", piece(broken))
    await run.refused(http, "PUT", f"{API}/persons/P-put/face", data=broken[: len(broken) * 3 // 4])
    good, bad, long = person(), person(), person()
    lines = [
        "personId,name,idcardNo,phone",
        f"P-csv,{good['name']},{good['idcardNo']},{good['phone']}",
        f"P-bad,{bad['name']},{bad['idcardNo']}-{bad['phone']},{bad['phone']}x",
        f"{long['idcardNo']},{long['phone']},{long['name']}",
        f'P-quote,"{long["idcardNo"]},{long["phone"]}',
        f"P-{'x' * 80},{long['name']},{long['idcardNo']},{long['phone']}",
    ]
    objects = [
        json.dumps({"personId": "P-json", **person()}, ensure_ascii=False),
        json.dumps({"personId": "P-json2", bad["idcardNo"]: bad["phone"], "name": bad["name"]}),
        json.dumps({"personId": "P-json3", "name": [bad["idcardNo"]], "phone": {"x": bad["phone"]}}),
        f"{{{bad['idcardNo']} {bad['phone']}",
    ]
    for content_type, rows in (("text/csv", lines), ("application/x-ndjson", objects)):
        headers = {"Content-Type": content_type}
        async with http.post(f"{API}/persons/import", data="\n".join(rows).encode(), headers=headers) as got:
            assert (got.status, (await got.json())["imported"]) == (200, 1)
            run.errors.append(await got.read())
    for search in ({"idcardNo": good["idcardNo"]}, {"phone": bad["phone"]}):
        async with http.post(f"{API}/persons/search", json=search) as got:
            assert got.status == 200
