"""The names of columns in tables of posts, by our names, best first.

The first name that a table has counts. The names come from scrapers, platforms' own exports and
data sets: Apify, Zeeschuimer and 4CAT, gallery-dl, Instaloader, X, Hugging Face.
"""

from __future__ import annotations

ALIASES: dict[str, tuple[str, ...]] = {
    "id": (
        *("id", "post_id", "shortcode", "post_shortcode", "code", "tweet_id", "status_id"),
        *("id_str", "rest_id", "media_id", "video_id", "item_id", "pk"),
    ),
    "image": (
        *("image", "file_name", "image_path", "image_file", "image_name", "img", "picture"),
        *("photo", "local_path", "media_path", "filename", "display_url", "image_url", "photo_url"),
        *("picture_url", "media_url", "img_url", "thumbnail_url"),
    ),
    "caption": (
        *("caption", "full_text", "text", "caption_text", "post_text", "post_caption"),
        *("tweet_text", "tweet", "content", "body", "message", "description", "desc"),
        *("edge_media_to_caption", "title"),
    ),
    "hashtags": ("hashtags", "hashtag", "hash_tags", "tags", "tag_list", "challenges"),
    "author": (
        *("author", "username", "owner_username", "user_name", "screen_name", "author_name"),
        *("author_username", "user_screen_name", "account", "owner", "user", "unique_id"),
        *("author_id", "owner_id", "user_id"),
    ),
    "taken_at": (
        *("taken_at", "taken_at_timestamp", "timestamp", "created_at", "create_time"),
        *("created", "created_time", "published_at", "posted_at", "post_date", "datetime"),
        *("date", "date_utc", "created_utc", "upload_date", "pub_date"),
    ),
    "topic": ("topic",),
    "origin": ("origin",),
}
