"""The client of PyPI, method by method: prints a list of { method, shown, failure }. Each line of CASES is shown as it stands."""
import json, os, re
from postgrest import SyncPostgrestClient, APIError
from postgrest._sync import request_builder as builders

c = SyncPostgrestClient(os.environ["REST_URL"], headers={"x-role": "service_role"})
ADA = "Ada Lovelace"
people = lambda: c.table("people").select("id")
ids = lambda *some: [{"id": one} for one in some]

CASES = [
    ("from_", lambda: c.from_("clients").select("name").order("id").execute().data, [{"name": "Microsoft"}, {"name": "Apple"}]),
    ("from_table", lambda: c.from_table("clients").select("id").eq("id", 1).execute().data, ids(1)),
    ("table", lambda: c.table("projects").select("name, clients(name)").eq("id", 3).execute().data, [{"name": "IOS", "clients": {"name": "Apple"}}]),
    ("schema", lambda: c.schema("other").table("things").select("name").execute().data, [{"name": "thing"}]),
    ("rpc", lambda: c.rpc("add_them", {"a": 1, "b": 2}).execute().data, 3),
    ("rpc (get, filters)", lambda: c.rpc("get_projects", {"client": 1}, get=True).select("id").gt("id", 1).execute().data, ids(2)),
    ("select", lambda: c.table("clients").select("id", count="exact").order("id").execute().count, 2),
    ("insert", lambda: c.table("pairs").insert({"a": 7, "b": 7}).execute().data, [{"a": 7, "b": 7, "note": "none"}]),
    ("upsert", lambda: c.table("clients").upsert({"id": 1, "name": "Microsoft"}).execute().data, [{"id": 1, "name": "Microsoft"}]),
    ("upsert (on_conflict)", lambda: c.table("people").upsert({"code": "A", "name": ADA}, on_conflict="code").execute().data[0]["id"], 1),
    ("update", lambda: c.table("clients").update({"name": "Microsoft"}).eq("id", 1).execute().data, [{"id": 1, "name": "Microsoft"}]),
    ("delete", lambda: c.table("pairs").delete().eq("a", 7).execute().data, [{"a": 7, "b": 7, "note": "none"}]),
    ("eq", lambda: people().eq("name", ADA).execute().data, ids(1)),
    ("neq", lambda: people().neq("age", 36).execute().data, ids(2)),
    ("gt", lambda: people().gt("age", 36).execute().data, ids(2)),
    ("gte", lambda: people().gte("age", 41).execute().data, ids(2)),
    ("lt", lambda: people().lt("age", 41).execute().data, ids(1)),
    ("lte", lambda: people().lte("age", 36).execute().data, ids(1)),
    ("like", lambda: people().like("name", "Ada%").execute().data, ids(1)),
    ("like_all_of", lambda: people().like_all_of("name", "A%,%Turing").execute().data, ids(2)),
    ("like_any_of", lambda: people().like_any_of("name", "Ada%,%Turing").order("id").execute().data, ids(1, 2)),
    ("ilike", lambda: people().ilike("name", "ADA%").execute().data, ids(1)),
    ("ilike_all_of", lambda: people().ilike_all_of("name", "a%,%TURING").execute().data, ids(2)),
    ("ilike_any_of", lambda: people().ilike_any_of("name", "ADA%,%TURING").order("id").execute().data, ids(1, 2)),
    ("is_", lambda: people().is_("age", "null").execute().data, ids(3)),
    ("in_", lambda: people().in_("name", [ADA, "none, of this name"]).execute().data, ids(1)),
    ("not_", lambda: people().not_.is_("age", "null").order("id").execute().data, ids(1, 2)),
    ("or_", lambda: people().or_("age.gt.40,age.is.null").order("id").execute().data, ids(2, 3)),
    ("match", lambda: people().match({"name": ADA, "age": 36}).execute().data, ids(1)),
    ("filter", lambda: people().filter("data->>n", "eq", "2").execute().data, ids(2)),
    ("contains", lambda: people().contains("tags", ["math"]).execute().data, ids(1)),
    ("contains (jsonb)", lambda: people().contains("data", {"n": 2}).execute().data, ids(2)),
    ("cs", lambda: people().cs("tags", ["math"]).execute().data, ids(1)),
    ("contained_by", lambda: people().contained_by("tags", ["code", "x"]).order("id").execute().data, ids(2, 3)),
    ("cd", lambda: people().cd("tags", ["code", "x"]).order("id").execute().data, ids(2, 3)),
    ("overlaps", lambda: people().overlaps("tags", ["math", "x"]).execute().data, ids(1)),
    ("ov", lambda: people().ov("tags", ["math", "x"]).execute().data, ids(1)),
    ("range_gt", lambda: people().range_gt("span", (10, 15)).execute().data, ids(2)),
    ("sr", lambda: people().sr("span", (10, 15)).execute().data, ids(2)),
    ("range_gte", lambda: people().range_gte("span", (19, 25)).execute().data, ids(2)),
    ("nxl", lambda: people().nxl("span", (19, 25)).execute().data, ids(2)),
    ("range_lt", lambda: people().range_lt("span", (10, 15)).execute().data, ids(1)),
    ("sl", lambda: people().sl("span", (10, 15)).execute().data, ids(1)),
    ("range_lte", lambda: people().range_lte("span", (1, 10)).execute().data, ids(1)),
    ("nxr", lambda: people().nxr("span", (1, 10)).execute().data, ids(1)),
    ("range_adjacent", lambda: people().range_adjacent("span", (29, 40)).execute().data, ids(2)),
    ("adj", lambda: people().adj("span", (29, 40)).execute().data, ids(2)),
    ("fts", lambda: people().fts("search", "lovelace").execute().data, ids(1)),
    ("plfts", lambda: people().plfts("search", "lovelace").execute().data, ids(1)),
    ("phfts", lambda: people().phfts("search", "ada lovelace").execute().data, ids(1)),
    ("wfts", lambda: people().wfts("search", "lovelace or turing").order("id").execute().data, ids(1, 2)),
    ("text_search", lambda: people().text_search("search", "lovelace", {"type": "web_search", "config": "english"}).execute().data, ids(1)),
    ("order", lambda: people().order("age", desc=True, nullsfirst=True).execute().data, ids(3, 2, 1)),
    ("limit", lambda: people().order("id").limit(1).execute().data, ids(1)),
    ("offset", lambda: people().order("id").offset(2).execute().data, ids(3)),
    ("range", lambda: people().order("id").range(1, 1).execute().data, ids(2)),
    ("single", lambda: people().eq("id", 1).single().execute().data, {"id": 1}),
    ("maybe_single", lambda: people().eq("id", 0).maybe_single().execute(), None),
    ("csv", lambda: people().order("id").limit(1).csv().execute().data, "id\n1"),
    ("explain", lambda: people().explain(format="text").execute()[:9], "Aggregate"),
    ("strip_nulls", lambda: c.table("people").select("id, age").eq("id", 3).strip_nulls().execute().data, ids(3)),
    ("max_affected", lambda: code(lambda: c.table("clients").update({"name": "x"}).gt("id", 0).max_affected(1).execute()), "PGRST124"),
    ("retry", lambda: people().eq("id", 1).retry(False).execute().data, ids(1)),
    ("execute (error)", lambda: code(lambda: c.table("nowhere").select("*").execute()), "PGRST205"),
]


def code(run):
    try:
        return run()
    except APIError as error:
        return error.code


own = [getattr(builders, name) for name in ("SyncRequestBuilder", "SyncSelectRequestBuilder", "SyncFilterRequestBuilder", "SyncRPCFilterRequestBuilder")]
methods = {name for one in [*own, SyncPostgrestClient] for name in dir(one) if not name.startswith("_")} - {"execute", "aclose", "auth"}
tried = {method.split(" ")[0] for method, _, _ in CASES}
lines = dict(re.findall(r'^    \("([^"]+)", lambda: (.*?\.execute\(\)(?:\.\w+|\[.*?\])*\)?),', open(__file__).read(), re.M))
outcomes = []
for method, run, expected in CASES:
    try:
        answer = run()
        failure = "" if answer == expected else f"answered {json.dumps(answer, default=str)}"
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
    outcomes.append({"method": method, "shown": lines.get(method, ""), "failure": failure[:300], "needs": ""})
print(json.dumps({"outcomes": outcomes, "untried": sorted(methods - tried)}))
