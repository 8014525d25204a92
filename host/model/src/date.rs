//! The date that chat templates print.
//!
//! Some templates (Llama 3.x) write today's date into the system message. A training run must not depend on the day
//! it runs or is resumed, so the date is fixed: the one such templates fall back to, or `SOURCE_DATE_EPOCH`.

const FIXED: i64 = 1_721_952_000; // 2024-07-26T00:00:00Z
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Format the fixed date (UTC) by Python's `strftime` for the directives `%Y %y %m %B %b %d %e %j %A %a %H %M %S %%`;
/// others stay as written.
pub fn strftime(format: &str) -> String {
    let seconds =
        std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|s| s.parse().ok()).unwrap_or(FIXED);
    format_seconds(format, seconds)
}

fn format_seconds(format: &str, seconds: i64) -> String {
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (month_name, day_name) = (MONTHS[month - 1], DAYS[(days + 4).rem_euclid(7) as usize]);
    let day_of_year = days - days_from_civil(year, 1, 1) + 1;
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => out += &year.to_string(),
            Some('y') => out += &format!("{:02}", year.rem_euclid(100)),
            Some('m') => out += &format!("{month:02}"),
            Some('B') => out += month_name,
            Some('b') => out += &month_name[..3],
            Some('d') => out += &format!("{day:02}"),
            Some('e') => out += &format!("{day:2}"),
            Some('j') => out += &format!("{day_of_year:03}"),
            Some('A') => out += day_name,
            Some('a') => out += &day_name[..3],
            Some('H') => out += &format!("{:02}", second_of_day / 3600),
            Some('M') => out += &format!("{:02}", second_of_day / 60 % 60),
            Some('S') => out += &format!("{:02}", second_of_day % 60),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let leap_days = |y: i64| y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    // Years that begin in March put the leap day last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * y + leap_days(y) + (153 * m + 2) / 5 + day - 1 - 719_468
}

/// The date (year, month, day) of a day since 1970-01-01.
fn civil(days: i64) -> (i64, usize, i64) {
    let mut year = 1970 + days.div_euclid(366);
    while days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_from_civil(year, month + 1, 1) <= days {
        month += 1;
    }
    (year, month as usize, days - days_from_civil(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(
            format_seconds("%A %d %B %Y %H:%M:%S %j", 0),
            "Thursday 01 January 1970 00:00:00 001"
        );
        assert_eq!(format_seconds("%a %e %b %y", FIXED), "Fri 26 Jul 24");
        assert_eq!(format_seconds("%Y-%m-%d %H:%M:%S", 951_825_599), "2000-02-29 11:59:59");
        assert_eq!(format_seconds("%Y-%m-%d %j", 1_735_603_200), "2024-12-31 366");
        assert_eq!(format_seconds("%Y-%m-%d", -1), "1969-12-31");
        assert_eq!(format_seconds("100%% %Q %", 0), "100% %Q %");
    }
}
