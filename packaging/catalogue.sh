#!/usr/bin/env bash
# Makes the catalogue of translations anew from the texts marked _("…") and ngettext: packaging/catalogue.sh [BIN], the
# folder that holds pybabel, .venv/bin unless said otherwise. Names what is still to be translated; exit 1 if there is any.
# The same sources give the same bytes: sorted, without dates, paths or line numbers. A text that has changed is a new
# one, and a translation whose text is gone goes too: nothing is guessed, and nothing stays that nobody reads.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pybabel=${1:-.venv/bin}/pybabel
domain=c5-gateway
locale=gateway/locale

"$pybabel" --quiet extract --no-default-keywords --keywords "_ ngettext:1,2" --omit-header --no-location --no-wrap \
    --sort-output --output-file "$locale/$domain.pot" gateway certs
for po in "$locale"/*/LC_MESSAGES/"$domain.po"; do
    language=$(basename "$(dirname "$(dirname "$po")")")
    "$pybabel" --quiet update --input-file "$locale/$domain.pot" --output-file "$po" --locale "$language" \
        --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --no-wrap
    "$pybabel" --quiet compile --input-file "$po" --output-file "${po%.po}.mo" --locale "$language"
done
awk '/^msgid /                     { text = $0 }
     /^msgstr.* ""$/ && text !~ /^msgid ""$/ { print FILENAME ": " text; left = 1 }
     END                           { exit left }' "$locale"/*/LC_MESSAGES/"$domain.po" >&2
