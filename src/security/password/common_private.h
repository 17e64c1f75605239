/*
 * common_private - words that well-known passwords are made of, folded as password.c folds (lower
 * case, digits that stand for letters replaced), sorted for a binary search.
 */
#ifndef SECURITY_PASSWORD_COMMON_PRIVATE_H
#define SECURITY_PASSWORD_COMMON_PRIVATE_H

/* clang-format off */
static const char *const common_words[] = {
    "aaa", "abc", "abcabc", "abcd", "abcdef", "abcdefg", "abcdefgh", "access", "adgangskode",
    "admin", "administrator", "adminpassword", "alexander", "always", "amanda", "amazon",
    "america", "andrew", "android", "angel", "anna", "anthony", "anything", "apple", "april",
    "arduino", "arsenal", "asdf", "asdfgh", "asdfghjkl", "ashley", "august", "australia", "autumn",
    "azerty", "azertyuiop", "banana", "barcelona", "baseball", "basketball", "batman",
    "batterystaple", "bayern", "beatles", "benjamin", "berlin", "blessed", "bosch", "brazil",
    "broker", "broncos", "butterfly", "camera", "canada", "change", "changeit", "changeme",
    "charlie", "cheese", "chelsea", "china", "chocolate", "christ", "christopher", "cisco",
    "client", "coap", "computer", "contrasena", "cookie", "correcthorse",
    "correcthorsebatterystaple", "corvette", "cowboys", "daniel", "david", "debian", "december",
    "default", "defaultpassword", "demo", "device", "diamond", "dolphin", "domoticz", "donttouch",
    "dragon", "eagle", "eagles", "elizabeth", "eminem", "england", "enter", "espressif",
    "everything", "example", "facebook", "factory", "falcon", "february", "ferrari", "firewall",
    "flower", "football", "forever", "fortress", "france", "freedom", "friday", "gateway",
    "george", "germany", "ginger", "golden", "goodbye", "google", "greenday", "guest", "hacker",
    "hannah", "harley", "haslo", "hass", "heaven", "hello", "helloworld", "heslo", "hockey",
    "homeassistant", "honda", "huawei", "hunter", "iamthebest", "ihateyou", "ilovemyself",
    "iloveyou", "india", "internet", "internetofthings", "iot", "iphone", "ironmaiden", "italia",
    "james", "january", "japan", "jennifer", "jessica", "jesus", "john", "jordan", "joshua",
    "july", "june", "justdoit", "juventus", "keepout", "killer", "lakers", "letmein", "letmeinnow",
    "letmeinplease", "liberty", "linkinpark", "linux", "liverpool", "login", "logon", "london",
    "losenord", "love", "lovely", "loveme", "loveyou", "madonna", "madrid", "magic", "manager",
    "manchester", "march", "maria", "martin", "mary", "master", "masterl", "matrix", "matthew",
    "mercedes", "merlin", "metallica", "meter", "mexico", "michael", "michelle", "microsoft",
    "modem", "monday", "monkey", "moscow", "mosquitto", "motdepasse", "mqtt", "mustang",
    "mypassword", "mysecret", "network", "never", "nevermind", "newpassword", "nicole", "ninja",
    "nirvana", "nobody", "nodered", "nokia", "nopassword", "nothing", "notsecret", "november",
    "october", "oldpassword", "oliver", "open", "openhab", "opensesame", "openthedoor", "operator",
    "oracle", "orange", "orchid", "ourpassword", "packers", "paris", "parola", "passpass",
    "passphrase", "password", "passwort", "pepper", "peter", "philips", "phoenix", "please",
    "pokemon", "poland", "porsche", "princess", "private", "public", "purple", "qazwsx",
    "qazwsxedc", "qqq", "qweasd", "qweasdzxc", "qwer", "qwerty", "qwertyuiop", "qwertz",
    "qwertzuiop", "ranger", "raspberry", "raspberrypi", "realmadrid", "redsox", "replace",
    "robert", "rollingstones", "root", "rootpassword", "router", "russia", "salasana", "sallyport",
    "samantha", "sample", "samsung", "schneider", "secret", "secretpassword", "secrets", "secure",
    "security", "senha", "sensor", "september", "server", "service", "sesame", "shadow", "siemens",
    "sifre", "silver", "slipknot", "soccer", "somebody", "something", "sophie", "spiderman",
    "spring", "starbucks", "startrek", "starwars", "stayout", "steelers", "summer", "sunday",
    "sunshine", "superman", "supersecret", "superuser", "supervisor", "support", "switch",
    "sysadmin", "tasmota", "temp", "temporary", "test", "tester", "testing", "thankyou",
    "thepassword", "thomas", "tiger", "topsecret", "trustno", "trustnoone", "turkey", "turtle",
    "ubuntu", "unlock", "user", "username", "userpassword", "verysecret", "victoria", "wachtwoord",
    "welcome", "welcomeback", "welcomehome", "whatever", "whoami", "whocares", "wifi", "william",
    "windows", "winter", "wireless", "wizard", "xxx", "yamaha", "yankees", "yellow",
    "yourpassword", "yxcvbnm", "zigbee", "zxcvbn", "zxcvbnm", "zzz",
};
/* clang-format on */

#endif
