use std::{error::Error, fmt, str::FromStr};

use jiff::{ToSpan, civil, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Timestamp;

/// A date, written `YYYYMMDD`: a real day of the Gregorian calendar in the years 1 to 9999.
///
/// The calendar is proleptic.
///
/// ```
/// use shiori_sdk::Date;
///
/// let date: Date = "20260216".parse()?;
/// assert_eq!(date, Date::new(2026, 2, 16)?);
/// assert!("20250230".parse::<Date>().is_err());
/// # Ok::<(), shiori_sdk::InvalidDate>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, pattern = "^[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$", examples("20260216")))]
pub struct Date(civil::Date);

impl Date {
    /// The date of this year (1 to 9999), month (1 to 12) and day (1 to 31).
    ///
    /// # Errors
    ///
    /// [`InvalidDate`] if the calendar has no such day.
    pub fn new(year: i16, month: u8, day: u8) -> Result<Self, InvalidDate> {
        if !(1..=9999).contains(&year) {
            return Err(InvalidDate);
        }
        let month = i8::try_from(month).map_err(|_| InvalidDate)?;
        let day = i8::try_from(day).map_err(|_| InvalidDate)?;
        civil::Date::new(year, month, day).map(Self).map_err(|_| InvalidDate)
    }

    /// Today's date in the time zone of the system: `TZ`, otherwise the system's setting, or UTC if
    /// neither can be determined.
    pub fn today() -> Self {
        Self::of(Timestamp::now(), &TimeZone::system())
    }

    /// Today's date in a time zone of the IANA database, for example `Asia/Seoul`.
    ///
    /// The database is the system's, which is often missing in containers (Debian packages it as
    /// `tzdata`). On Windows it is compiled in.
    ///
    /// # Errors
    ///
    /// [`UnknownTimeZone`] if the database has no zone of this name.
    pub fn today_in(time_zone: &str) -> Result<Self, UnknownTimeZone> {
        Self::at_in(Timestamp::now(), time_zone)
    }

    /// The date of a timestamp in a time zone of the IANA database.
    ///
    /// ```
    /// use shiori_sdk::{Date, Timestamp};
    ///
    /// let moment: Timestamp = "2026-02-15T23:00:00Z".parse()?;
    /// assert_eq!(Date::at(moment), Date::new(2026, 2, 15)?);
    /// assert_eq!(Date::at_in(moment, "Asia/Seoul")?, Date::new(2026, 2, 16)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownTimeZone`] if the database has no zone of this name.
    pub fn at_in(moment: Timestamp, time_zone: &str) -> Result<Self, UnknownTimeZone> {
        let zone = TimeZone::get(time_zone).map_err(|_| UnknownTimeZone)?;
        Ok(Self::of(moment, &zone))
    }

    /// The UTC date of a timestamp.
    pub fn at(moment: Timestamp) -> Self {
        Self::of(moment, &TimeZone::UTC)
    }

    /// Timestamps before the year 1 yield the first date.
    fn of(moment: Timestamp, zone: &TimeZone) -> Self {
        let date = zone.to_datetime(moment.to_jiff()).date();
        Self(date.max(civil::date(1, 1, 1)))
    }

    /// The year, 1 to 9999.
    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// The month, 1 to 12.
    pub fn month(self) -> u8 {
        self.0.month().unsigned_abs()
    }

    /// The day of the month, 1 to 31.
    pub fn day(self) -> u8 {
        self.0.day().unsigned_abs()
    }

    /// Days since the last Monday: 0 (Monday) to 6 (Sunday).
    pub fn days_since_monday(self) -> u8 {
        self.0.weekday().to_monday_zero_offset().unsigned_abs()
    }

    /// The date this many days later, or earlier if negative; `None` outside the years 1 to 9999.
    pub fn plus_days(self, days: i64) -> Option<Self> {
        let span = jiff::Span::new().try_days(days).ok()?;
        let date = self.0.checked_add(span).ok()?;
        (1..=9999).contains(&date.year()).then_some(Self(date))
    }

    /// The number of days from `self` to `later`; negative if it is earlier.
    pub fn days_until(self, later: Self) -> i64 {
        (later.0 - self.0).get_days().into()
    }

    /// The date as a number of eight digits, e.g. `20260216`.
    pub fn as_number(self) -> u32 {
        let year = u32::from(self.year().unsigned_abs());
        year * 10_000 + u32::from(self.month()) * 100 + u32::from(self.day())
    }

    /// The date of a number such as `20260216`.
    ///
    /// # Errors
    ///
    /// [`InvalidDate`] if the calendar has no such day.
    pub fn from_number(number: u32) -> Result<Self, InvalidDate> {
        let year = i16::try_from(number / 10_000).map_err(|_| InvalidDate)?;
        let month = u8::try_from(number / 100 % 100).map_err(|_| InvalidDate)?;
        let day = u8::try_from(number % 100).map_err(|_| InvalidDate)?;
        Self::new(year, month, day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}", self.as_number())
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text or number is not a calendar date of the form `YYYYMMDD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidDate;

impl fmt::Display for InvalidDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a calendar date of the form YYYYMMDD")
    }
}

impl Error for InvalidDate {}

impl FromStr for Date {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, InvalidDate> {
        if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidDate);
        }
        Self::from_number(text.parse().map_err(|_| InvalidDate)?)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The database of time zones has no zone of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownTimeZone;

impl fmt::Display for UnknownTimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown time zone")
    }
}

impl Error for UnknownTimeZone {}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is its own description
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// A range of dates, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateRange {
    start: Date,
    end: Date,
}

impl DateRange {
    /// The range from `start` to `end`, both included.
    ///
    /// # Errors
    ///
    /// [`InvalidRange`] if `start` is after `end`.
    pub fn new(start: Date, end: Date) -> Result<Self, InvalidRange> {
        if start > end { Err(InvalidRange) } else { Ok(Self { start, end }) }
    }

    /// The first date.
    pub fn start(self) -> Date {
        self.start
    }

    /// The last date.
    pub fn end(self) -> Date {
        self.end
    }

    /// The number of days, at least 1.
    pub fn days(self) -> u32 {
        u32::try_from(self.start.days_until(self.end) + 1).unwrap_or(1)
    }

    /// Whether the date is in the range.
    pub fn contains(self, date: Date) -> bool {
        (self.start..=self.end).contains(&date)
    }

    /// Every date of the range, in order.
    pub fn dates(self) -> impl Iterator<Item = Date> {
        self.start.0.series(1.day()).map(Date).take_while(move |date| *date <= self.end)
    }
}

impl From<Week> for DateRange {
    fn from(week: Week) -> Self {
        Self { start: week.start(), end: week.end() }
    }
}

/// The start of the range is after its end, or a week is not seven days long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRange;

impl fmt::Display for InvalidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a valid range of dates")
    }
}

impl Error for InvalidRange {}

/// Seven consecutive days, beginning on any day of the week.
///
/// ```
/// use shiori_sdk::{Date, Week};
///
/// // The Monday-to-Sunday week of a day.
/// let week = Week::containing(Date::new(2026, 2, 18)?);
/// assert_eq!(week.start(), Date::new(2026, 2, 16)?);
/// assert_eq!(week.end(), Date::new(2026, 2, 22)?);
/// # Ok::<(), shiori_sdk::InvalidDate>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Week {
    start: Date,
}

impl Week {
    /// Days in a week.
    pub const DAYS: usize = 7;

    /// The seven days from `start`.
    ///
    /// # Errors
    ///
    /// [`InvalidRange`] if the week would end after the year 9999.
    pub fn starting(start: Date) -> Result<Self, InvalidRange> {
        start.plus_days(6).map(|_| Self { start }).ok_or(InvalidRange)
    }

    /// The Monday-to-Sunday week (ISO 8601) of a day; at either end of the calendar the nearest
    /// week within the years 1 to 9999.
    pub fn containing(date: Date) -> Self {
        Self::containing_from(Weekday::Monday, date)
    }

    /// The week of a day, for weeks that begin on `first`; at either end of the calendar the nearest
    /// week within the years 1 to 9999.
    ///
    /// ```
    /// use shiori_sdk::{Date, Week, Weekday};
    ///
    /// let week = Week::containing_from(Weekday::Sunday, Date::new(2026, 2, 18)?);
    /// assert_eq!(week.start(), Date::new(2026, 2, 15)?);
    /// # Ok::<(), shiori_sdk::InvalidDate>(())
    /// ```
    pub fn containing_from(first: Weekday, date: Date) -> Self {
        let days_since_first = (7 + i64::from(date.days_since_monday()) - first as i64) % 7;
        let start = date
            .plus_days(-days_since_first)
            .or_else(|| date.plus_days(7 - days_since_first))
            .unwrap_or(date);
        Self::starting(start).unwrap_or(Self { start: start.plus_days(-7).unwrap_or(start) })
    }

    /// The week that equals this range.
    ///
    /// # Errors
    ///
    /// [`InvalidRange`] if the range is not seven days long.
    pub fn from_range(range: DateRange) -> Result<Self, InvalidRange> {
        if range.days() as usize == Self::DAYS {
            Ok(Self { start: range.start })
        } else {
            Err(InvalidRange)
        }
    }

    /// The first day.
    pub fn start(self) -> Date {
        self.start
    }

    /// The last day.
    pub fn end(self) -> Date {
        // Every constructor checks that the last day exists.
        self.start.plus_days(6).unwrap_or(self.start)
    }

    /// The seven days, in order.
    pub fn dates(self) -> impl Iterator<Item = Date> {
        DateRange::from(self).dates()
    }

    /// Whether the date is in the week.
    pub fn contains(self, date: Date) -> bool {
        DateRange::from(self).contains(date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEEKDAYS: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    #[test]
    fn the_date_of_a_timestamp_depends_on_the_time_zone() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a timestamp");
        for (moment, zone, date) in [
            ("2026-02-15T14:59:59.999Z", "Asia/Seoul", 20_260_215),
            ("2026-02-15T15:00:00Z", "Asia/Seoul", 20_260_216),
            ("2026-02-15T15:00:00Z", "UTC", 20_260_215),
            // Daylight saving time begins at 10:00Z that day; the offset is -8 h before, -7 h after.
            ("2026-03-08T07:59:59Z", "America/Los_Angeles", 20_260_307),
            ("2026-03-09T06:59:59Z", "America/Los_Angeles", 20_260_308),
            ("2026-03-09T07:00:00Z", "America/Los_Angeles", 20_260_309),
            // This zone skipped 30 December 2011.
            ("2011-12-30T10:00:00Z", "Pacific/Apia", 20_111_231),
        ] {
            assert_eq!(
                Date::at_in(at(moment), zone),
                Date::from_number(date).map_err(|_| UnknownTimeZone),
                "{moment} {zone}"
            );
        }
        for zone in ["", "Seoul", "../../etc/passwd", "Asia/Seoul\0"] {
            assert_eq!(
                Date::at_in(at("2026-02-15T15:00:00Z"), zone),
                Err(UnknownTimeZone),
                "{zone:?}"
            );
        }
    }

    #[test]
    fn timestamps_outside_the_calendar_yield_its_nearest_date() {
        assert_eq!(Date::at(Timestamp::from_millis(i64::MIN)).as_number(), 10_101);
        assert_eq!(Date::at(Timestamp::from_millis(i64::MAX)).as_number(), 99_991_230);
    }

    #[test]
    fn text_that_is_not_a_calendar_date_is_rejected() {
        for text in [
            "20250230",
            "2025811",
            "202508110",
            "20251301",
            "20250100",
            "00000101",
            "2025-8-1",
            "２０２５０１０１",
            "",
            "+2025011",
        ] {
            assert_eq!(text.parse::<Date>(), Err(InvalidDate), "{text}");
        }
        assert!("20240229".parse::<Date>().is_ok(), "2024 is a leap year");
        assert!("20250229".parse::<Date>().is_err(), "2025 is not");
        assert!("00010101".parse::<Date>().is_ok());
        assert!("99991231".parse::<Date>().is_ok());
    }

    #[test]
    fn a_week_at_the_end_of_the_calendar_has_seven_days() {
        let last = Date::new(9999, 12, 31).expect("real");
        assert_eq!(Week::starting(last), Err(InvalidRange));
        for (first, weekday) in WEEKDAYS.into_iter().enumerate() {
            for date in [last, Date::new(1, 1, 1).expect("real")] {
                let week = Week::containing_from(weekday, date);
                assert_eq!(week.dates().count(), 7, "{weekday:?}");
                assert_eq!(usize::from(week.start().days_since_monday()), first, "{weekday:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_date_is_parsed_from_its_text_and_number(days in 0i64..3_652_058) {
            let date = Date::new(1, 1, 1).expect("real").plus_days(days).expect("in range");
            prop_assert_eq!(date.to_string().parse(), Ok(date));
            prop_assert_eq!(Date::from_number(date.as_number()), Ok(date));
            prop_assert_eq!(Date::new(1, 1, 1).expect("real").days_until(date), days);
        }

        #[test]
        fn a_range_yields_as_many_dates_as_it_has_days(start in 0i64..700_000, length in 0i64..800) {
            let start = Date::new(1, 1, 1).expect("real").plus_days(start).expect("in range");
            let range = DateRange::new(start, start.plus_days(length).expect("in range")).expect("ordered");
            prop_assert_eq!(range.dates().count(), range.days() as usize);
            prop_assert!(range.dates().all(|date| range.contains(date)));
        }

        #[test]
        fn the_week_of_a_day_contains_the_day(days in 7i64..3_652_000, first in 0usize..7) {
            let date = Date::new(1, 1, 1).expect("real").plus_days(days).expect("in range");
            let week = Week::containing_from(WEEKDAYS[first], date);
            prop_assert!(week.contains(date));
            prop_assert_eq!(usize::from(week.start().days_since_monday()), first);
        }
    }
}
