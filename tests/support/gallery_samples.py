"""JSON files as gallery-dl writes them for posts of many sites, by its extractors' fields.

Each is (its fields without `subcategory` and `extension`, the post that it must make).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Expected:
    """The post of a sample: id, author, caption and hashtags."""

    post_id: str
    author: str
    caption: str
    hashtags: tuple[str, ...]


_TAGS = ["fog", "old town"]
_TAKEN = ("fog", "oldtown")
_HTML = '<p>Early &amp; cold<br>walk <a href="/t/sea">#<span>sea</span></a></p>'
_BOORU: dict[str, Any] = {"id": 7, "md5": "ab", "rating": "s", "date": "2024-01-02 10:00:00"}

SAMPLES: dict[str, tuple[dict[str, Any], Expected]] = {
    "instagram": (
        {
            "post_id": "35976",
            "post_shortcode": "DHt",
            "description": "Lake #calm",
            "tags": ["#other"],
            "username": "ann",
            "owner_id": "3",
        },
        Expected("DHt", "ann", "Lake", ("calm",)),
    ),
    "twitter": (
        {
            "tweet_id": 1700,
            "content": "Ferry at dawn #ferry",
            "description": "A white ferry #leica",
            "author": {"id": 7, "name": "ann", "nick": "Ann"},
            "user": {"id": 8, "name": "bob"},
            "hashtags": ["ferry"],
        },
        Expected("twitter:1700", "ann", "Ferry at dawn", ("ferry",)),
    ),
    "mastodon.social": (
        {
            "id": "111",
            "content": _HTML,
            "account": {"username": "ann", "acct": "ann", "display_name": "Ann B"},
            "media": {"description": "alt #no"},
            "tags": ["sea"],
            "spoiler_text": "",
        },
        Expected("mastodon.social:111", "ann", "Early & cold\nwalk", ("sea",)),
    ),
    "tumblr": (
        {
            "id": 7000,
            "blog_name": "ann-shoots",
            "type": "photo",
            "caption": "<p>Rain on the <b>tram</b></p>",
            "summary": "x",
            "tags": _TAGS,
        },
        Expected("tumblr:7000", "ann-shoots", "Rain on the tram", _TAKEN),
    ),
    "flickr": (
        {
            "id": 51,
            "title": "Old harbour",
            "description": "Long exposure.",
            "owner": {"nsid": "59@N05", "username": "ann k"},
            "tags": _TAGS,
        },
        Expected("flickr:51", "ann k", "Old harbour\nLong exposure.", _TAKEN),
    ),
    "pixiv": (
        {
            "id": 90,
            "title": "夏の海",
            "caption": "海に行きました<br />#練習",
            "tags": ["オリジナル", "海"],
            "user": {"id": 5, "name": "ミラ", "account": "ann"},
        },
        Expected("pixiv:90", "ann", "夏の海\n海に行きました", ("練習", "オリジナル", "海")),
    ),
    "deviantart": (
        {
            "index": 800,
            "deviationid": "AAA",
            "title": "Moor",
            "description": '<div>Fog over the <a href="#">moor</a></div>',
            "author": {"username": "ann-da", "userid": "1"},
            "tags": _TAGS,
        },
        Expected("deviantart:800", "ann-da", "Moor\nFog over the moor", _TAKEN),
    ),
    "weibo": (
        {
            "pid": "96f",
            "status": {
                "id": 465,
                "text_raw": "#猫咪# 今天在阳台 #阳台#",
                "text": '<a href="/k/x">#猫咪#</a> 今天在阳台',
                "user": {"id": 99, "screen_name": "ann"},
                "date": "2021-06-16 14:35:46",
            },
        },
        Expected("weibo:465", "ann", "今天在阳台", ("猫咪", "阳台")),
    ),
    "tiktok": (
        {
            "id": "7240",
            "desc": "Stairs #kittens",
            "title": "Stairs #kittens",
            "author": {"id": "1", "uniqueId": "ann", "nickname": "Ann"},
            "user": "ann",
            "createTime": "1704189600",
        },
        Expected("tiktok:7240", "ann", "Stairs", ("kittens",)),
    ),
    "vsco": (
        {
            "id": "c5eb",
            "user": "ann",
            "grid": "ann",
            "description": "Ni seviyorum. #vscox",
            "tags": [{"text": "other", "slug": "other"}],
        },
        Expected("vsco:c5eb", "ann", "Ni seviyorum.", ("vscox",)),
    ),
    "reddit": (
        {
            "id": "8cqhub",
            "title": "Lava at night",
            "selftext": "Shot &amp; cut by me #lava",
            "author": "ann",
            "subreddit": "pics",
        },
        Expected("reddit:8cqhub", "ann", "Lava at night\nShot & cut by me", ("lava",)),
    ),
    "bluesky": (
        {
            "post_id": "3kh5",
            "uri": "at://did:plc:z/app.bsky.feed.post/3kh5",
            "text": "Reading #books",
            "description": "alt text #no",
            "author": {"did": "did:plc:z", "handle": "ann.bsky.social", "displayName": "Ann"},
            "createdAt": "2024-01-02T10:00:00.000Z",
        },
        Expected("bluesky:3kh5", "ann.bsky.social", "Reading", ("books",)),
    ),
    "pinterest": (
        {
            "id": "8581",
            "grid_title": "Shelf",
            "description": "Oak shelf #diy",
            "pinner": {"username": "ann", "full_name": "Ann B"},
            "created_at": "Tue, 02 Jan 2024 10:00:00 +0000",
        },
        Expected("pinterest:8581", "ann", "Shelf\nOak shelf", ("diy",)),
    ),
    "artstation": (
        {
            "id": 1,
            "hash_id": "LQVJr",
            "title": "Knight",
            "description": "Personal work",
            "user": {"username": "ann", "full_name": "Ann B"},
            "userinfo": {"username": "liker"},
            "tags": _TAGS,
            "asset": {"id": 5, "title": "detail"},
        },
        Expected("artstation:LQVJr", "ann", "Knight\nPersonal work", _TAKEN),
    ),
    "newgrounds": (
        {
            "index": 1993615,
            "title": "Ryu",
            "comment": "Consider <i>this</i>",
            "description": "Consider this",
            "user": "ann",
            "artist": ["bob"],
            "tags": ["ryu", "picos-school"],
        },
        Expected("newgrounds:1993615", "ann", "Ryu\nConsider this", ("ryu", "picosschool")),
    ),
    "danbooru": (
        _BOORU
        | {
            "tags": ["bat_(animal)", "smile"],
            "tag_string": "bat_(animal) smile",
            "tags_artist": ["ann"],
            "uploader_id": 67005,
        },
        Expected("danbooru:7", "ann", "", ("bat_animal", "smile")),
    ),
    "gelbooru": (
        _BOORU | {"tags": "blue_sky smile", "owner": "ann", "title": ""},
        Expected("gelbooru:7", "ann", "", ("blue_sky", "smile")),
    ),
    "e621": (
        _BOORU
        | {
            "tags": {"general": ["fox", "smile"], "artist": ["ann"], "meta": []},
            "tags_artist": ["ann"],
            "description": "A fox",
        },
        Expected("e621:7", "ann", "A fox", ("fox", "smile", "ann")),
    ),
    "unsplash": (
        {
            "id": "kaoHI0iHJPM",
            "description": None,
            "alt_description": "red wooden cross",
            "user": {"username": "ann", "name": "Ann B"},
            "tags": [{"type": "search", "title": "fog"}, {"type": "search", "title": "old town"}],
        },
        Expected("unsplash:kaoHI0iHJPM", "ann", "red wooden cross", _TAKEN),
    ),
    "facebook": (
        {
            "id": "1016",
            "set_id": "a.49",
            "caption": "On a break #Friends",
            "username": "Ann B",
            "user_id": "10",
            "title": "Profile pictures",
        },
        Expected("facebook:1016", "Ann B", "On a break", ("friends",)),
    ),
    "threads": (
        {"post_shortcode": "DTh", "caption": {"text": "Hi #all"}, "user": {"username": "ann"}},
        Expected("threads:DTh", "ann", "Hi", ("all",)),
    ),
    "imgur": (
        {
            "id": "693j2Kr",
            "title": "",
            "description": "first of two",
            "album": {"id": "TcB", "title": "Walk", "description": "", "tags": [{"tag": "fog"}]},
            "account_url": "ann",
        },
        Expected("imgur:TcB", "ann", "Walk\nfirst of two", ("fog",)),
    ),
    "patreon": (
        {
            "id": 12497641,
            "title": "Free post",
            "content": "<p>For all</p>",
            "creator": {"vanity": "ann", "full_name": "Ann B"},
            "tags": _TAGS,
        },
        Expected("patreon:12497641", "ann", "Free post\nFor all", _TAKEN),
    ),
    "fanbox": (
        {
            "id": "11070192",
            "creatorId": "ann",
            "title": "Sketches",
            "content": "New ones",
            "text": None,
            "tags": _TAGS,
            "user": {"name": "ET", "userId": "7"},
        },
        Expected("fanbox:11070192", "ann", "Sketches\nNew ones", _TAKEN),
    ),
    "behance": (
        {
            "id": 17386197,
            "name": "A Short Story",
            "description": "Ink",
            "owners": ["Ann", "Bob"],
            "fields": ["Animation"],
            "tags": [{"id": 1, "title": "fog"}, {"id": 2, "title": "old town"}],
        },
        Expected("behance:17386197", "Ann", "A Short Story\nInk", _TAKEN),
    ),
    "500px": (
        {
            "id": 222049255,
            "name": "Queen Of Coasts",
            "description": "Sea",
            "user": {"username": "ann", "fullname": "Ann B"},
            "tags": _TAGS,
        },
        Expected("500px:222049255", "ann", "Queen Of Coasts\nSea", _TAKEN),
    ),
    "lofter": (
        {"id": 767, "blog_name": "ann", "content": "<p>二部</p> \n<p>au</p>", "tags": ["猫"]},
        Expected("lofter:767", "ann", "二部\n\nau", ("猫",)),
    ),
    "plurk": (
        {
            "plurk_id": 42,
            "content": 'Lunch <a href="#">#noodles</a>',
            "user": {"nick_name": "ann"},
            "posted": "Tue, 02 Jan 2024 10:00:00 GMT",
        },
        Expected("plurk:42", "ann", "Lunch", ("noodles",)),
    ),
    "misskey.io": (
        {
            "id": "9bhqfo835v",
            "text": "Cats <3 #cats",
            "cw": None,
            "user": {"username": "ann", "name": "Ann B", "host": None},
            "file": {"comment": "alt"},
        },
        Expected("misskey.io:9bhqfo835v", "ann", "Cats <3", ("cats",)),
    ),
    "furaffinity": (
        {"id": 4919026, "title": "Dragon", "description": "Loth", "user": "ann", "tags": _TAGS},
        Expected("furaffinity:4919026", "ann", "Dragon\nLoth", _TAKEN),
    ),
    "weasyl": (
        {
            "submitid": 2031,
            "title": "A Wesley!",
            "description": "<p>(flex)</p>\n",
            "owner_login": "ann",
            "owner": "Ann",
            "tags": _TAGS,
        },
        Expected("weasyl:2031", "ann", "A Wesley!\n(flex)", _TAKEN),
    ),
    "kemono": (
        {
            "id": "506575",
            "title": "Set",
            "content": "<p>All of it</p>",
            "user": "6993449",
            "username": "ann",
            "tags": '{fog,"old town"}',
        },
        Expected("kemono:506575", "ann", "Set\nAll of it", _TAKEN),
    ),
    "xiaohongshu": (
        {
            "note_id": "64aa",
            "title": "周末",
            "desc": "咖啡店 #探店[话题]# #咖啡[话题]#",
            "user": {"nickname": "ann"},
        },
        Expected("xiaohongshu:64aa", "ann", "周末\n咖啡店", ("探店", "咖啡")),
    ),
}

TAGGED = (
    *("tumblr", "flickr", "pixiv", "deviantart", "artstation", "newgrounds", "danbooru"),
    *("gelbooru", "e621", "unsplash", "imgur", "patreon", "fanbox", "behance", "500px", "lofter"),
    *("furaffinity", "weasyl", "kemono"),
)
