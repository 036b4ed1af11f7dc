"""Synthetic documents of any length: the same arguments give the same text, no model, no clock."""

from __future__ import annotations

import datetime as dt
import math

from holdfast.apps.reports.render.document import (
    Answer,
    Chapter,
    Closing,
    LuckyColour,
    Moon,
    MoonDay,
    NatalAspect,
    NatalChart,
    NatalRow,
    Numerology,
    NumerologyNumber,
    Part,
    PhaseMoment,
    ReportDocument,
    Section,
    Transit,
)

SIGNS = (
    "Aries Taurus Gemini Cancer Leo Virgo Libra Scorpio Sagittarius Capricorn Aquarius Pisces"
).split()
SIGN_GLYPHS = "♈♉♊♋♌♍♎♏♐♑♒♓"
PHASES = (
    "New moon|Waxing crescent|First quarter|Waxing gibbous|Full moon|Waning gibbous|"
    "Last quarter|Waning crescent"
).split("|")
MONTHS = (
    "January February March April May June July August September October November December"
).split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
TOPICS = ("Love and closeness", "Work and money", "Body and rest", "Mind and meaning")
QUESTIONS = (
    "What does this time ask of my closest relationship?",
    "Where should I say less and listen more?",
    "Which old promise deserves a second look?",
    "Who will surprise me, and how can I meet it well?",
    "What is the single most useful thing to finish?",
    "How should I handle a decision about money?",
    "Where is a colleague waiting for a clear word from me?",
    "Is this a good time to ask for more?",
    "What does my body need that I tend to overlook?",
    "When will my energy be highest?",
    "Which small habit pays off now?",
    "How can I sleep better?",
    "What thought keeps returning, and what is it for?",
    "Where can I find a quiet hour?",
    "What should I read, watch or learn?",
    "Which fear is out of date?",
    "What can I let go of without regret?",
    "Where does luck have a chance to find me?",
    "What would make this time worth remembering?",
    "What is the one sentence to carry with me?",
)
CLAUSES = (
    "The morning favours plain words over clever ones",
    "a conversation you have put off is easier than it looks",
    "give the first hour to the task that frightens you a little",
    "with the Moon moving through a water sign, feeling comes before thinking",
    "someone close to you is waiting to be asked rather than told",
    "money matters reward patience and a second reading of the small print",
    "your energy comes in waves, so plan the heavy work for the late forenoon",
    "an old idea returns in better clothes",
    "Mercury supports every kind of writing, and letters most of all",
    "what looks like a delay is the time you need to prepare",
    "let the evening be simple, warm and free of screens",
    "a small act of generosity travels further than you expect",
    "trust the part of you that has been quiet for some days",
    "the trine between Venus and your natal Sun softens a difficult meeting",
    "do not mistake tiredness for lack of love",
    "walk for twenty minutes before you answer",
)
SYNODIC_DAYS = 29.530588
FIRST_DAY = dt.date(2027, 1, 1)


def words(seed: int, count: int) -> str:
    """Return about `count` words of running text."""
    sentences: list[str] = []
    length, state = 0, seed * 2654435761 % 2**32
    while length < count:
        state = (state * 1664525 + 1013904223) % 2**32
        first = CLAUSES[state >> 28]
        state = (state * 1664525 + 1013904223) % 2**32
        second = CLAUSES[state >> 28]
        joint = (", and ", "; ", ", because ", ". ")[(state >> 20) % 4]
        sentence = first + joint + (second[0].upper() + second[1:] if joint == ". " else second)
        sentences.append(sentence[0].upper() + sentence[1:] + ".")
        length += len(sentence.split())
    return " ".join(sentences)


def moon_on(day: dt.date) -> Moon:
    """Return a plausible moon; good enough to look at, not to sell."""
    age = ((day - dt.date(2000, 1, 6)).days % SYNODIC_DAYS) / SYNODIC_DAYS
    sign = int((day - dt.date(2000, 1, 6)).days / 27.32 * 12) % 12
    return Moon(
        age=round(age, 4),
        phase=PHASES[int(age * 8 + 0.5) % 8],
        illumination=round(50 * (1 - math.cos(2 * math.pi * age))),
        sign=SIGNS[sign],
        sign_glyph=SIGN_GLYPHS[sign],
    )


def sections(seed: int, answers: int, low: int = 80, high: int = 150) -> tuple[Section, ...]:
    """Return four sections that share `answers` answers of `low` to `high` words."""
    found = [
        Answer(
            question=QUESTIONS[index % len(QUESTIONS)],
            answer=words(seed * 97 + index, low + (seed * 7 + index * 37) % (high - low - 15)),
        )
        for index in range(answers)
    ]
    size = max(1, math.ceil(answers / len(TOPICS)))
    return tuple(
        Section(title=topic, answers=tuple(found[at * size : (at + 1) * size]))
        for at, topic in enumerate(TOPICS)
        if found[at * size : (at + 1) * size]
    )


def _day(day: dt.date, answers: int) -> Chapter:
    long_date = f"{day.day} {MONTHS[day.month - 1]} {day.year}"
    seed = day.toordinal()
    return Chapter(
        id=f"daily-{day}",
        kind="daily",
        title=f"{WEEKDAYS[day.weekday()]}, {long_date}",
        running=long_date,
        date=day,
        intro=words(seed, 30),
        moon=moon_on(day),
        transits=(
            Transit(transiting="☽", aspect="trine", natal="☉", orb="0.4°"),
            Transit(transiting="♀", aspect="sextile", natal="♂", orb="1.1°"),
            Transit(transiting="☿", aspect="square", natal="♃", orb="1.8°"),
        ),
        sections=sections(seed, answers),
    )


def _strip(first: dt.date, count: int, last: dt.date) -> tuple[MoonDay, ...]:
    days = [first + dt.timedelta(n) for n in range(count) if first + dt.timedelta(n) <= last]
    return tuple(
        MoonDay(date=day, weekday=WEEKDAYS[day.weekday()][:2], moon=moon_on(day), target=f"daily-{day}")
        for day in days
    )


def _week(first: dt.date, last: dt.date, answers: int) -> Chapter:
    end = first + dt.timedelta(6)
    return Chapter(
        id=f"weekly-{first}",
        kind="weekly",
        eyebrow="The week ahead",
        title=f"{first.day} {MONTHS[first.month - 1]} to {end.day} {MONTHS[end.month - 1]}",
        date=first,
        intro=words(first.toordinal() + 5, 40),
        days=_strip(first, 7, last),
        sections=sections(first.toordinal() + 5, answers),
    )


def _month(first: dt.date, length: int, last: dt.date, answers: int) -> Chapter:
    name = MONTHS[first.month - 1]
    return Chapter(
        id=f"monthly-{first:%Y-%m}",
        kind="monthly",
        eyebrow="The month ahead",
        title=f"{name} {first.year}",
        date=first,
        intro=words(first.toordinal() + 11, 70),
        moon=moon_on(first + dt.timedelta(9)),
        days=_strip(first, length, last),
        phases=tuple(
            PhaseMoment(name=PHASES[2 * n], age=n / 4, when=f"{4 + 7 * n} {name} · 0{n}:1{n} UTC")
            for n in range(4)
        ),
        sections=sections(first.toordinal() + 11, answers),
    )


def horoscope(*, days: int = 365, answers: int = 20, person: str = "Ada Example") -> ReportDocument:
    """Return a horoscope of `days` daily chapters with their year, months and weeks.

    Weeks and months begin on 1 January 2027; 365 days give 430 chapters or one week more.
    """
    last = FIRST_DAY + dt.timedelta(days - 1)
    year = Chapter(
        id=f"yearly-{FIRST_DAY.year}",
        kind="yearly",
        eyebrow="The whole year",
        title=f"Your year {FIRST_DAY.year}",
        date=FIRST_DAY,
        intro=words(1, 90),
        sections=sections(1, answers, 140, 260),
    )
    parts = [Part(id="the-year", title=year.title, lead=year)]
    first = FIRST_DAY
    while first <= last:
        following = (first.replace(day=28) + dt.timedelta(5)).replace(day=1)
        length = (following - first).days
        chapters: list[Chapter] = []
        for offset in range(length):
            day = first + dt.timedelta(offset)
            if day > last:
                break
            if (day - FIRST_DAY).days % 7 == 0 and (day - FIRST_DAY).days // 7 % 53 < 52:
                chapters.append(_week(day, last, answers))
            chapters.append(_day(day, answers))
        month = _month(first, length, last, answers)
        parts.append(
            Part(id=f"part-{first:%Y-%m}", title=month.title, lead=month, chapters=tuple(chapters))
        )
        first = following
    return ReportDocument(
        title="The Year Ahead",
        subtitle="A personal horoscope",
        person=person,
        edition=str(FIRST_DAY.year),
        sample_notice="Sample text, written offline without a model.",
        issued=dt.date(2026, 12, 1),
        imprint=(
            "Positions of Sun, Moon and planets were computed with JPL’s ephemeris DE421.",
            "Astrology is a language for reflection, not a prediction and not advice.",
        ),
        natal=natal_chart(),
        numerology=numerology(),
        parts=tuple(parts),
        closing=Closing(
            title="Until next year",
            text="Thank you for spending your year with these pages.\nKeep what helped you.",
        ),
    )


def small_report(*, person: str = "Ada Example", paragraphs: int = 6) -> ReportDocument:
    """Return a report of four titled chapters with prose and a few answers."""
    names = ("Who you are", "What moves you", "What you are here to do", "How you grow")
    chapters = tuple(
        Chapter(
            id=f"agent-{index}",
            kind="section",
            eyebrow=f"Part {index + 1}",
            title=name,
            intro=words(index + 400, 45),
            sections=(
                Section(
                    title="At a glance",
                    prose=tuple(words(index * 50 + n, 110) for n in range(paragraphs)),
                ),
                Section(title="In daily life", prose=(words(index + 900, 160),)),
                *sections(index + 700, 4),
            ),
        )
        for index, name in enumerate(names)
    )
    return ReportDocument(
        title="Life Clarity",
        subtitle="Four views of one life",
        person=person,
        edition="Winter 2026",
        sample_notice=None,
        issued=dt.date(2026, 12, 1),
        imprint=("Made for one reader.",),
        natal=natal_chart(),
        numerology=numerology(),
        parts=tuple(Part(id=f"part-{c.id}", title=c.title, lead=c) for c in chapters),
        closing=Closing(title="Go gently", text="These pages will keep."),
    )


def natal_chart(svg: str | None = None) -> NatalChart:
    """Return a natal chart with a plain wheel, or with the one given."""
    bodies = (
        "☉ Sun|☽ Moon|☿ Mercury|♀ Venus|♂ Mars|♃ Jupiter|♄ Saturn|♅ Uranus|♆ Neptune|♇ Pluto"
    ).split("|")
    rows = tuple(
        NatalRow(
            glyph=body[0],
            name=body[2:],
            sign=SIGNS[n * 5 % 12],
            sign_glyph=SIGN_GLYPHS[n * 5 % 12],
            position=f"{n * 7 % 30}°{n * 13 % 60:02d}′",
            house=str(n * 5 % 12 + 1),
            retrograde=n > 6,
        )
        for n, body in enumerate(bodies)
    )
    aspects = tuple(
        NatalAspect(
            first=bodies[n % 10][0], aspect="trine", second=bodies[(n * 3 + 2) % 10][0], orb="2.1°"
        )
        for n in range(12)
    )
    return NatalChart(
        when="15 June 1990, 14:30 (UTC+2)",
        place="Rome, Italy",
        house_system="Placidus",
        wheel_svg=svg or wheel(),
        rows=rows,
        ascendant="♎ 10°36′",
        midheaven="♋ 12°26′",
        aspects=aspects,
        moon_age=0.77,
    )


def wheel() -> str:
    """Return a stand-in for the real chart wheel."""
    spokes = "".join(
        f'<line x1="0" y1="-95" x2="0" y2="-60" stroke="#a8853a" transform="rotate({30 * n})"/>'
        for n in range(12)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-100 -100 200 200">'
        '<circle r="95" fill="#fffdf4" stroke="#a8853a"/><circle r="60" fill="none" '
        f'stroke="#a8853a"/>{spokes}</svg>'
    )


def numerology() -> Numerology:
    """Return a profile of five numbers and three colours."""
    names = ("Life path", "Expression", "Soul urge", "Personality", "Personal year")
    return Numerology(
        intro="Numbers from the date of birth and the letters of the name.",
        numbers=tuple(
            NumerologyNumber(name=name, value=str(n + 3), keyword="the builder", text=words(n + 60, 70))
            for n, name in enumerate(names)
        ),
        colours=(
            LuckyColour(name="Deep violet", rgb="#4b3a86"),
            LuckyColour(name="Old gold", rgb="#b08d3c"),
            LuckyColour(name="Sea green", rgb="#3f7f78"),
        ),
    )
